"""What happens to a deployment, told once to all who watch it on this gateway.

The journal is followed, folded and rendered by one task for each watched deployment. Its frames are
only appended to, and each watcher keeps its own place in them: a slow one holds nobody up and loses nothing.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Protocol

import msgspec

from services.gateway.event_stream import KEEP_ALIVE, frame
from services.gateway.feed import Feed
from services.gateway.status import StatusBody, progress_in, render, without_time
from shared.adapters.postgres.database import DATABASE_AWAY
from shared.adapters.postgres.deployments import Deployments
from shared.contracts.events import Event
from shared.projection import Progress, apply
from shared.telemetry import log

_CLOSING_SECONDS = 0.5
"""Streams that are over close within this time, not all at once: that would hold up those that go on."""
_PAUSE_SECONDS = 0.05
"""Changes that follow each other so closely reach the watchers together: each costs a write to every socket."""

_PROJECTED_SECONDS = 2.0
_FIRST_LOOK_SECONDS, _LOOK_SECONDS = 0.002, 0.01


class Told(Protocol):
    """What a story shows of its deployment besides the journal; `accepted_at` in seconds since 1970."""

    id: str
    accepted_at: float
    retry_of: str | None


class Story:
    """One deployment's status events.

    Attributes:
        outcome: how it ended; None while it goes on.
    """

    def __init__(self, deployment: Told) -> None:
        self.outcome: str | None = None
        self.watchers = 0
        self.over = asyncio.Event()
        self._deployment = deployment
        self._frames: list[tuple[int, bytes]] = []
        self._next: list[tuple[int, bytes]] = []
        self._last: list[tuple[int, bytes]] = []
        self._progress: Progress | None = None
        self._body: StatusBody | None = None
        self._news = asyncio.Event()
        self._shown_at = 0.0
        self._showing: asyncio.TimerHandle | None = None

    async def frames(self, last_id: int) -> AsyncGenerator[bytes, None]:
        """Yield the events after the journal's sequence `last_id`, several at once where they are there."""
        place = 0
        while True:
            news = self._news
            told, place = self._frames[place:], len(self._frames)
            if told:
                yield b"".join(text for sequence, text in told if sequence > last_id)
            elif self.over.is_set():
                await asyncio.sleep(random.uniform(0, _CLOSING_SECONDS))
                return
            else:
                await news.wait()
                if len(self._frames) == place and not self.over.is_set():
                    yield KEEP_ALIVE

    def hear(self, event: Event, sequence: int) -> None:
        """Go on with an event of the journal; a lower sequence is that of a journal made anew."""
        if self._progress and sequence <= self._progress.sequence:
            self._progress = msgspec.structs.replace(self._progress, sequence=0)
        self._progress = apply(self._progress, event, sequence)
        self.tell(self._progress)

    def tell(self, progress: Progress) -> None:
        """Add what callers can see to have changed; what the end changes waits for `finish`."""
        if self.has_ended:
            return
        deployment = self._deployment
        body = render(deployment.id, deployment.accepted_at, progress, time.time(), retry_of=deployment.retry_of)
        frames = self._last if progress.finished else self._next
        if self._body is None or without_time(body) != without_time(self._body):
            frames.append((progress.sequence, frame("status", body, progress.sequence)))
        self._body = body
        if progress.finished:
            frames.append((_ALWAYS, frame("end", body, progress.sequence)))

    @property
    def has_ended(self) -> bool:
        """Whether the end is known, told or not."""
        return bool(self._last)

    def finish(self) -> None:
        """Add the end if it is known; nothing comes after it."""
        if self._body is not None and self.has_ended:
            self._next += self._last
            self.outcome = self._body.status

    def show_soon(self) -> None:
        """Show the watchers what was told: at once, or `_PAUSE_SECONDS` after the last time."""
        if self._showing is None:
            loop = asyncio.get_running_loop()
            self._showing = loop.call_at(self._shown_at + _PAUSE_SECONDS, self._show)

    def close(self) -> None:
        """Show what was told, and tell no more."""
        self.over.set()
        if self._showing:
            self._showing.cancel()
        self._show()

    def _show(self) -> None:
        self._shown_at, self._showing = asyncio.get_running_loop().time(), None
        self._frames += self._next
        self._next.clear()
        self._news.set()
        self._news = asyncio.Event()


class Stories:
    """The stories that someone watches."""

    def __init__(self, events: Feed[Event], deployments: Deployments) -> None:
        self._events = events
        self._deployments = deployments
        self._told: dict[str, tuple[Story, asyncio.Task[None]]] = {}

    @contextmanager
    def of(self, deployment: Told) -> Iterator[Story]:
        """Watch a deployment for the length of a block; the last one to leave ends its story."""
        if deployment.id not in self._told:
            story = Story(deployment)
            telling = asyncio.create_task(self._tell(deployment.id, story), name=f"story of {deployment.id}")
            self._told[deployment.id] = story, telling
        story, telling = self._told[deployment.id]
        story.watchers += 1
        try:
            yield story
        finally:
            story.watchers -= 1
            if not story.watchers:
                del self._told[deployment.id]
                telling.cancel()

    async def _tell(self, deployment_id: str, story: Story) -> None:
        """Tell what the journal says until the end.

        When it is quiet the database is asked too: it knows the end even if the journal was lost. What the
        journal has by then is told first. The end is told when the row shows it: who hears of it may ask for that.
        """
        known: asyncio.Future[Progress] = asyncio.get_running_loop().create_future()
        try:
            async with aclosing(self._events.follow(deployment_id, until=known)) as batches:
                async for events in batches:
                    for sequence, event in events:
                        story.hear(event, sequence)
                    if not events and (finished := await self._finished_in_sql(deployment_id)):
                        known.set_result(finished)
                    if story.has_ended:
                        await self._until_in_sql(deployment_id)
                        return
                    story.show_soon()
            if known.done():
                story.tell(known.result())
        finally:
            story.finish()
            story.close()

    async def _until_in_sql(self, deployment_id: str) -> None:
        """Wait for the projector, which reads the same journal; not for one that is away."""
        with suppress(TimeoutError, *DATABASE_AWAY):
            async with asyncio.timeout(_PROJECTED_SECONDS):
                pause = _FIRST_LOOK_SECONDS
                while not await self._deployments.is_shown_over(deployment_id):
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LOOK_SECONDS)

    async def _finished_in_sql(self, deployment_id: str) -> Progress | None:
        try:
            row = await self._deployments.status(deployment_id)
        except DATABASE_AWAY as error:
            log.warning("database away", error=repr(error))
            return None
        progress = progress_in(row) if row else None
        return progress if progress and progress.finished else None


_ALWAYS = 1 << 62
"""Stands for the sequence of what every watcher gets, wherever it resumed."""
