"""A broker or database that is away for a while, and how to wait for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.adapters.jetstream.consumer import BROKER_AWAY
from shared.adapters.postgres.database import DATABASE_AWAY
from shared.contracts.errors import ZepidError
from shared.telemetry import log

OUTAGE_SECONDS = 300.0
"""How long a dependency may be away before what waits for it is given up: half the usual deadline."""
AWAY = (*DATABASE_AWAY, *BROKER_AWAY, ZepidError)
"""What may be raised while a dependency is away."""
_AGAIN_SECONDS = 0.5

T = TypeVar("T")


async def insist(effect: Callable[[], Awaitable[T]], away: tuple[type[Exception], ...] = AWAY) -> T:
    """Repeat what may safely run twice until its dependencies are back; return what it returns.

    Raises:
        Exception: what `effect` raised, when it is no outage, or `OUTAGE_SECONDS` after it began.
    """
    given_up_at: float | None = None
    while True:
        try:
            return await effect()
        except away as error:
            permanent = isinstance(error, ZepidError) and not error.code.retryable
            given_up_at = given_up_at or time.monotonic() + OUTAGE_SECONDS
            if permanent or time.monotonic() > given_up_at:
                raise
            log.warning("waiting for a dependency", error=repr(error))
        await asyncio.sleep(_AGAIN_SECONDS)
