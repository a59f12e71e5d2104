"""Telling intake that something waits, without an answer waiting for the broker."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from services.gateway.background import Background
from shared.adapters.jetstream.bus import Bus

_PAUSE_SECONDS = 0.02


class Waker:
    """Wakes intake at once, or, while other requests are under way, once for all that are accepted in a moment."""

    def __init__(self, bus: Bus, background: Background) -> None:
        self._bus = bus
        self._background = background
        self._under_way = 0
        self._next: tuple[str, str] | None = None
        self._is_sending = False

    @contextmanager
    def accepting(self) -> Iterator[None]:
        """Count a request that may be accepted."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def wake(self, deployment_id: str, traceparent: str) -> None:
        """Wake intake for a deployment; a wake-up that is lost costs a few seconds, until intake looks by itself."""
        self._next = (deployment_id, traceparent)
        if not self._is_sending:
            self._is_sending = True
            self._background.start(self._send(), "waking intake")

    async def _send(self) -> None:
        try:
            if self._under_way > 1:
                await asyncio.sleep(_PAUSE_SECONDS)
            while wanted := self._next:
                self._next = None
                await self._bus.wake_intake(*wanted)
        finally:
            self._is_sending = False
