"""Waiting for something to become true with a deadline, and measuring how long something takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def until(check: Callable[[], Awaitable[Any]], within: float = 30.0) -> Any:
    """Ask again and again until the answer is true; return it. TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not (answer := await check()):  # noqa: ASYNC110 - the one place that polls
            await asyncio.sleep(0.01)
        return answer


async def quickest(action: Callable[[], Awaitable[Any]], times: int = 3) -> float:
    """Return the seconds that the fastest of some runs took: what else the machine does slows a single one at will."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        await action()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
