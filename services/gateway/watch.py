"""One who watches a deployment in a stream: told that there is something new, and soon handed what it is."""

import asyncio
import time
from collections.abc import Sequence
from typing import Generic, TypeVar

SETTLED_SECONDS = 1.0
"""No replica that answers reads is so far behind the one that tells us."""
_TIMER_SECONDS = 0.01
"""A timer may be early by less than this."""

News = TypeVar("News")


class Watch(Generic[News]):
    """What one watcher was told of, and handed.

    It is handed what comes once it has read what came before; until then, and whenever something may have been
    missed, it reads what it was told of. It looks once more when it has settled, so that it is handed the next thing.

    Attributes:
        hinted: set when there is something to look at.
        known: the highest sequence it was told of.
        renumbered: the stream was made anew, and counts from 1 again.
    """

    def __init__(self) -> None:
        self.hinted = asyncio.Event()
        self.known = 0
        self.renumbered = False
        self._handed: list[tuple[int, News]] | None = None
        self._settle()

    def tell(self, sequence: int, news: News | None) -> None:
        """There is a new message; `news` is what it says, None where that has to be read."""
        if news is None:
            self._handed = None
        elif self._handed is not None:
            self._handed.append((sequence, news))
        self.known = max(self.known, sequence)
        self.hinted.set()

    def take(self, after: int) -> Sequence[tuple[int, News]] | None:
        """Return what was handed after a sequence; None when it has to be read."""
        if self._handed is None:
            return None
        taken, self._handed = self._handed, []
        return [(sequence, news) for sequence, news in taken if sequence > after]

    def expect_news(self) -> bool:
        """Keep what is handed from now on, if a read that begins now has all that came before this watch."""
        if time.monotonic() - self._since < SETTLED_SECONDS:
            return False
        self._handed = []
        return True

    def start_over(self) -> None:
        """Something may have been missed: read again."""
        self._handed = None
        self.hinted.set()
        self._settle()

    def _settle(self) -> None:
        self._since = time.monotonic()
        asyncio.get_running_loop().call_later(SETTLED_SECONDS + _TIMER_SECONDS, self.hinted.set)
