"""The two live streams of a deployment as server-sent events: its status, and its log."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from litestar.response.sse import ServerSentEventMessage

from services.gateway.log_reader import LogReader
from services.gateway.lookup import DeploymentRow
from services.gateway.ports import Gateway
from services.gateway.status import StatusBody, render, without_time
from shared.adapters.jetstream.bus import decode_chunk, decode_event
from shared.adapters.postgres.database import DATABASE_AWAY
from shared.contracts.messages import LogChunk
from shared.log_lines import chunk_before, numbered
from shared.projection import Progress, apply
from shared.telemetry import log

_PAGE = 1000


class Live:
    """One deployment, followed for one caller who may see it; `deployment` as it was a moment ago."""

    def __init__(self, gateway: Gateway, deployment: DeploymentRow) -> None:
        self._gateway = gateway
        self._deployment = deployment

    async def statuses(self, last_id: int) -> AsyncGenerator[ServerSentEventMessage, None]:
        """Yield `status` at each change after the journal's sequence `last_id`, then `end`."""
        shown = self._deployment.body()
        if self._deployment.finished:
            yield _event("status", shown)
            yield _event("end", shown)
            return
        if self._deployment.progress is None and not last_id:
            yield _event("status", shown)
        async with aclosing(self._progress()) as changes:
            async for progress in changes:
                if progress is None:
                    yield _KEEP_ALIVE
                    continue
                body = self._body(progress)
                if progress.sequence > last_id and without_time(body) != without_time(shown):
                    yield _event("status", body, progress.sequence)
                shown = body
                if progress.finished:
                    yield _event("end", body, progress.sequence)

    async def lines(self, last_id: int) -> AsyncGenerator[ServerSentEventMessage, None]:
        """Yield `log` for each line after line `last_id`, `gap` where chunks are missing, then `end`."""
        if self._deployment.finished:
            async with aclosing(self._stored_lines(last_id)) as stored:
                async for message in stored:
                    yield message
            yield _event("end", {"status": self._deployment.body().status})
            return
        ended = asyncio.ensure_future(self._ended())
        try:
            async with aclosing(self._live_lines(last_id, ended)) as live:
                async for message in live:
                    yield message
            if ended.done() and (status := ended.result()):
                yield _event("end", {"status": status})
        finally:
            ended.cancel()

    async def _progress(self) -> AsyncGenerator[Progress | None, None]:
        """Yield the progress after each event of the journal until it is finished; None when it is quiet.

        When it is quiet the database is asked too: it knows the end even if the journal was lost.
        """
        progress: Progress | None = None
        async with aclosing(self._gateway.events.follow(self._deployment.id)) as events:
            async for stored in events:
                if stored is None:
                    yield None
                    progress = await self._finished_in_sql() or progress
                else:
                    if progress and stored.sequence <= progress.sequence:
                        progress = msgspec.structs.replace(progress, sequence=0)
                    progress = apply(progress, decode_event(stored.data), stored.sequence)
                    yield progress
                if progress and progress.finished:
                    if stored is None:
                        yield progress
                    return

    async def _finished_in_sql(self) -> Progress | None:
        try:
            row = await self._gateway.ports.deployments.status(self._deployment.id)
        except DATABASE_AWAY as error:
            log.warning("database away", error=repr(error))
            return None
        progress = DeploymentRow(row).progress if row else None
        return progress if progress and progress.finished else None

    async def _ended(self) -> str | None:
        """Return the final status; None when the gateway stops before there is one."""
        async with aclosing(self._progress()) as changes:
            async for progress in changes:
                if progress and progress.finished:
                    return progress.status()
        return None

    async def _stored_lines(self, last_id: int) -> AsyncGenerator[ServerSentEventMessage, None]:
        reader = LogReader(self._gateway.ports.bus, self._gateway.ports.logs)
        more = True
        while more:
            lines, more = await reader.page(self._deployment.id, last_id, _PAGE)
            for line in lines:
                last_id = line.seq
                yield _event("log", line, line.seq)

    async def _live_lines(
        self, last_id: int, ended: "asyncio.Future[str | None]"
    ) -> AsyncGenerator[ServerSentEventMessage, None]:
        order = _ChunkOrder(resumed=last_id > 0)
        follow = self._gateway.logs.follow(self._deployment.id, after=chunk_before(last_id), until=ended)
        async with aclosing(follow) as chunks:
            async for stored in chunks:
                if stored is None:
                    yield _KEEP_ALIVE
                    continue
                chunk = decode_chunk(stored.data)
                if missing := order.missing_before(chunk):
                    yield _event("gap", {"step": chunk.step, "attempt": chunk.attempt, "chunks": missing})
                for line in numbered(chunk, stored.sequence):
                    if line.seq > last_id:
                        yield _event("log", line, line.seq)

    def _body(self, progress: Progress) -> StatusBody:
        deployment = self._deployment
        return render(deployment.id, deployment.accepted_at, progress, time.time(), retry_of=deployment.retry_of)


class _ChunkOrder:
    """Finds chunks that are missing: those of one attempt are numbered from 0 without a hole."""

    def __init__(self, *, resumed: bool) -> None:
        self._resumed = resumed
        self._next: dict[tuple[str, int], int] = {}

    def missing_before(self, chunk: LogChunk) -> int:
        """Return how many chunks were lost before this one."""
        attempt = (chunk.step, chunk.attempt)
        expected = self._next.get(attempt, chunk.number if self._resumed else 0)
        self._next[attempt] = chunk.number + 1
        return max(0, chunk.number - expected)


def _event(name: str, data: object, event_id: int = 0) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(data), event=name, id=event_id or None)


_KEEP_ALIVE = ServerSentEventMessage(comment="keep-alive", data=None)
