"""Answers that are believed for a few seconds, so that not every request asks for them."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")
_MOST = 10_000


class Remembered(Generic[_T]):
    """Keeps what was found out about a secret, by its hash; at most 10,000 of them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: dict[bytes, tuple[float, _T]] = {}
        self._era = 0

    async def get(self, secret: str, ask: Callable[[str], Awaitable[_T]]) -> _T:
        """Return what is known about a secret, or ask."""
        key = hashlib.sha256(secret.encode()).digest()
        known = self._known.get(key)
        if known and known[0] > time.monotonic():
            return known[1]
        era = self._era
        found = await ask(secret)
        if era == self._era:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = (time.monotonic() + self._seconds, found)
        return found

    def forget(self) -> None:
        """Ask anew for everything; what is being asked for meanwhile is not kept."""
        self._known.clear()
        self._era += 1
