"""Waiting for something to become true, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def until(check: Callable[[], Awaitable[Any]], within: float = 30.0) -> Any:
    """Ask again and again until the answer is true; return it. TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not (answer := await check()):  # noqa: ASYNC110 - the one place that polls
            await asyncio.sleep(0.01)
        return answer
