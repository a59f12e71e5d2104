"""One active instance reads the journal in order and commits rows and position together."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import msgspec
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind

from services.projector.journal import Journal
from shared.adapters.jetstream.bus import decode_event
from shared.adapters.postgres.database import DATABASE_FAILED
from shared.adapters.postgres.projections import Position, Projections
from shared.contracts.errors import ZepidError
from shared.contracts.events import Admitted, Ended, Event, kind_of
from shared.projection import Progress, apply
from shared.resources import Resources
from shared.service import Service, sleep_or_stop
from shared.telemetry import TRACEPARENT, log, message_attributes, span

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
            except (*DATABASE_FAILED, ZepidError) as error:
                log.warning("projector starts again", error=repr(error))
            await sleep_or_stop(stopping, _STANDBY_SECONDS)

    @asynccontextmanager
    async def _active(self) -> AsyncIterator[Connection | None]:
        """Hold the lock that makes this instance the active one; None where another has it."""
        async with self._resources.pool.acquire() as connection:
            try:
                if not await connection.fetchval(_LOCK):
                    yield None
                    return
                # Rows and position are committed together, so losing the last ones only repeats work.
                await connection.execute("set synchronous_commit = off")
                yield connection
                await connection.execute("reset synchronous_commit")
                await connection.execute(_UNLOCK)
            except BaseException:
                # Where it ended badly nobody knows what the session still holds; it ends with its connection.
                with suppress(asyncpg.InterfaceError):
                    connection.terminate()
                raise

    async def _project(self, connection: Connection, stopping: asyncio.Event) -> None:
        """Follow the journal; return when the rows were made again, to start from a clean slate."""
        projections = Projections(connection)
        position = await self._start(projections)
        self._open.clear()
        rebuild = position.rebuild
        while not stopping.is_set():
            if rebuild:
                await self._rebuild(connection, projections, stopping)
                return
            batch = await self._journal.read(stopping)
            rebuild = await self._apply(projections, batch) if batch else await projections.wants_rebuild()

    async def _start(self, projections: Projections) -> Position:
        """Continue after the committed position, or at the start of a journal not seen before."""
        created = await self._journal.created()
        position = await projections.position()
        if position is None or position.stream_created != created:
            await projections.start(created)
            position = Position(created, 0, rebuild=False)
        await self._journal.open(after=position.sequence)
        return position

    async def _apply(self, projections: Projections, batch: list[Msg]) -> bool:
        """Fold a batch into rows; return whether a rebuild is asked for."""
        events = list(_decoded(batch))
        unknown = {event.deployment_id for event, _ in events} - self._open.keys()
        if unknown:
            self._open |= await projections.load(unknown)
        before = {event.deployment_id: self._open.get(event.deployment_id) for event, _ in events}
        for event, message in events:
            name = f"project {event.actor} {kind_of(event)}"
            attributes = message_attributes("projector", message.subject, event.deployment_id)
            with span(name, _traceparent(message), kind=SpanKind.CONSUMER, attributes=attributes):
                self._fold(event, message)
        changed = {key: (known, self._open[key]) for key, known in before.items()}
        rebuild = await projections.save(changed, _sequence(batch[-1]), tell_project=True)
        for key, (_, now) in changed.items():
            if now.finished:
                del self._open[key]
        return rebuild

    def _fold(self, event: Event, message: Msg) -> None:
        self._open[event.deployment_id] = apply(self._open.get(event.deployment_id), event, _sequence(message))

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
                events = list(_decoded(batch))
                for event, message in events:
                    if event.deployment_id in self._open or isinstance(event, Admitted | Ended):
                        self._fold(event, message)
                sequence = _sequence(batch[-1]) if batch else sequence
                ids = {event.deployment_id for event, _ in events} & self._open.keys()
                await projections.save({key: (None, self._open[key]) for key in ids}, sequence, tell_project=False)
                log.info("rebuilding", sequence=sequence, of=last)
            await projections.rebuilt()
        log.info("rebuild done", events=last)


def _traceparent(message: Msg) -> str:
    return (message.headers or {}).get(TRACEPARENT, "")


def _sequence(message: Msg) -> int:
    return message.metadata.sequence.stream


def _decoded(batch: Iterable[Msg]) -> Iterator[tuple[Event, Msg]]:
    """Yield what can be read; an unreadable event is skipped and said, it must not stop the others."""
    for message in batch:
        try:
            yield decode_event(message.data), message
        except msgspec.DecodeError as error:
            log.error("unreadable event skipped", subject=message.subject, error=str(error))
