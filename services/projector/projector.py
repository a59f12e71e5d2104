"""One active instance reads the journal in order and commits rows and position together."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import asyncpg
import msgspec
from nats.aio.msg import Msg

from services.projector.journal import Journal
from shared.adapters.jetstream.bus import decode_event
from shared.adapters.postgres.database import DATABASE_AWAY
from shared.adapters.postgres.projections import Position, Projections
from shared.contracts.errors import ZepidError
from shared.contracts.events import Admitted, Ended, Event
from shared.projection import Progress, apply
from shared.resources import Resources
from shared.service import Service, sleep_or_stop
from shared.telemetry import TRACEPARENT, log, span

_LOCK = "select pg_try_advisory_lock(hashtext('zepid.projector'))"
_UNLOCK = "select pg_advisory_unlock(hashtext('zepid.projector'))"
_STANDBY_SECONDS = 1.0


def create(resources: Resources) -> Service:
    """Make the service."""
    return Projector(resources)


Connection = asyncpg.pool.PoolConnectionProxy


class Projector:
    """The only writer of stage, progress, step rows and timings."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._journal = Journal(resources.bus)
        self._open: dict[str, Progress] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Project until `stopping` is set; stand by while another instance is active."""
        while not stopping.is_set():
            try:
                async with self._active() as connection:
                    if connection is not None:
                        await self._project(connection, stopping)
            except (*DATABASE_AWAY, asyncpg.PostgresError, ZepidError) as error:
                log.warning("projector starts again", error=str(error))
            await sleep_or_stop(stopping, _STANDBY_SECONDS)

    @asynccontextmanager
    async def _active(self) -> AsyncIterator[Connection | None]:
        """Hold the lock that makes this instance the active one; None where another has it."""
        async with self._resources.pool.acquire() as connection:
            if not await connection.fetchval(_LOCK):
                yield None
                return
            try:
                # Rows and position are committed together, so losing the last ones only repeats work.
                await connection.execute("set synchronous_commit = off")
                yield connection
            finally:
                if not connection.is_closed():
                    await connection.execute("reset synchronous_commit")
                    await connection.execute(_UNLOCK)

    async def _project(self, connection: Connection, stopping: asyncio.Event) -> None:
        projections = Projections(connection)
        position = await self._start(projections)
        self._open.clear()
        while not stopping.is_set():
            if position.rebuild:
                await self._rebuild(connection, projections, stopping)
                return
            if batch := await self._journal.read(stopping):
                async with connection.transaction():
                    await self._apply(projections, batch)
            position = await projections.position() or position

    async def _start(self, projections: Projections) -> Position:
        """Continue after the committed position, or at the start of a journal not seen before."""
        created = await self._journal.created()
        position = await projections.position()
        if position is None or position.stream_created != created:
            await projections.start(created)
            position = Position(created, 0, rebuild=False)
        await self._journal.open(after=position.sequence)
        return position

    async def _apply(self, projections: Projections, batch: list[Msg]) -> None:
        events = list(_decoded(batch))
        unknown = {event.deployment_id for event, _ in events} - self._open.keys()
        if unknown:
            self._open |= await projections.load(unknown)
        changed: dict[str, Progress] = {}
        for event, message in events:
            with span(f"project {event.actor}", (message.headers or {}).get(TRACEPARENT, "")):
                progress = apply(self._open.get(event.deployment_id), event, message.metadata.sequence.stream)
            self._open[event.deployment_id] = changed[event.deployment_id] = progress
        await projections.save(changed, batch[-1].metadata.sequence.stream, tell_project=True)
        self._forget_finished(changed)

    async def _rebuild(self, connection: Connection, projections: Projections, stopping: asyncio.Event) -> None:
        """Make the rows again in one transaction; readers see the old ones until it is done.

        A deployment whose first event has left the journal keeps the rows it has.
        """
        last = await self._journal.last_sequence()
        await self._journal.open(after=0)
        log.info("rebuild started", events=last)
        self._open.clear()
        async with connection.transaction():
            sequence = 0
            while sequence < last:
                if stopping.is_set():
                    raise ZepidError("SERVICE_UNAVAILABLE", "the rebuild was interrupted; the old rows stay")
                batch = await self._journal.read(stopping)
                changed: dict[str, Progress] = {}
                for event, message in _decoded(batch):
                    sequence = message.metadata.sequence.stream
                    known = self._open.get(event.deployment_id)
                    if known is not None or isinstance(event, Admitted | Ended):
                        progress = apply(known, event, sequence)
                        self._open[event.deployment_id] = changed[event.deployment_id] = progress
                await projections.save(changed, sequence, tell_project=False)
                log.info("rebuilding", sequence=sequence, of=last)
            await projections.rebuilt()
        log.info("rebuild done", events=last)

    def _forget_finished(self, changed: dict[str, Progress]) -> None:
        for deployment_id, progress in changed.items():
            if progress.finished:
                self._open.pop(deployment_id, None)


def _decoded(batch: Iterable[Msg]) -> Iterator[tuple[Event, Msg]]:
    """Yield what can be read; an unreadable event is skipped and said, it must not stop the others."""
    for message in batch:
        try:
            yield decode_event(message.data), message
        except msgspec.DecodeError as error:
            log.error("unreadable event skipped", subject=message.subject, error=str(error))
