"""Telling intake that something waits, without an answer waiting for the broker."""

import asyncio

from services.gateway.background import Background
from shared.adapters.jetstream.bus import Bus

_PAUSE_SECONDS = 0.01


class Waker:
    """Sends a wake-up at once; while many are wanted, one in a while stands for all."""

    def __init__(self, bus: Bus, background: Background) -> None:
        self._bus = bus
        self._background = background
        self._next: tuple[str, str] | None = None
        self._is_sending = False

    def wake(self, deployment_id: str, traceparent: str) -> None:
        """Wake intake for a deployment; one that is lost costs a few seconds, until intake looks by itself."""
        self._next = (deployment_id, traceparent)
        if not self._is_sending:
            self._is_sending = True
            self._background.start(self._send(), "waking intake")

    async def _send(self) -> None:
        try:
            while wanted := self._next:
                self._next = None
                await self._bus.wake_intake(*wanted)
                if self._next:
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._is_sending = False
