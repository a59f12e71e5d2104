"""The two live streams of a deployment as server-sent events: its status, and its log."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple

from services.gateway.event_stream import KEEP_ALIVE, frame
from services.gateway.log_reader import LogReader
from services.gateway.lookup import DeploymentRow
from services.gateway.ports import Gateway
from services.gateway.shown_log import ShownChunk
from shared.log_lines import chunk_before

_PAGE = 1000


class Live:
    """One deployment, followed for one caller who may see it; `deployment` as it was a moment ago."""

    def __init__(self, gateway: Gateway, deployment: DeploymentRow) -> None:
        self._gateway = gateway
        self._deployment = deployment

    async def statuses(self, last_id: int) -> AsyncGenerator[bytes, None]:
        """Yield `status` at each change after the journal's sequence `last_id`, then `end`."""
        shown = self._deployment.body()
        if self._deployment.finished:
            yield frame("status", shown) + frame("end", shown)
            return
        if self._deployment.progress is None and not last_id:
            yield frame("status", shown)
        with self._gateway.stories.of(self._deployment) as story:
            async with aclosing(story.frames(last_id)) as frames:
                async for text in frames:
                    yield text

    async def lines(self, last_id: int) -> AsyncGenerator[bytes, None]:
        """Yield `log` for each line after line `last_id`, `gap` where chunks are missing, then `end`."""
        if self._deployment.finished:
            async with aclosing(self._stored_lines(last_id)) as stored:
                async for text in stored:
                    yield text
            yield frame("end", {"status": self._deployment.body().status})
            return
        with self._gateway.stories.of(self._deployment) as story:
            over = asyncio.ensure_future(story.over.wait())
            try:
                async with aclosing(self._live_lines(last_id, over)) as live:
                    async for text in live:
                        yield text
            finally:
                over.cancel()
            if story.outcome:
                yield frame("end", {"status": story.outcome})

    async def _stored_lines(self, last_id: int) -> AsyncGenerator[bytes, None]:
        reader = LogReader(self._gateway.ports.bus, self._gateway.ports.logs)
        more = True
        while more:
            lines, more = await reader.page(self._deployment.id, last_id, _PAGE)
            if lines:
                last_id = lines[-1].seq
                yield b"".join(frame("log", line, line.seq) for line in lines)

    async def _live_lines(self, last_id: int, over: "asyncio.Future[Any]") -> AsyncGenerator[bytes, None]:
        order = _ChunkOrder(resumed=last_id > 0)
        follow = self._gateway.logs.follow(self._deployment.id, after=chunk_before(last_id), until=over)
        async with aclosing(follow) as batches:
            async for chunks in batches:
                texts = [text for _, chunk in chunks for text in _texts(chunk, order, last_id)]
                if texts or not chunks:
                    yield b"".join(texts) or KEEP_ALIVE


def _texts(chunk: ShownChunk, order: "_ChunkOrder", last_id: int) -> list[bytes]:
    """Return a chunk's lines after line `last_id`, and before them the gap if there is one."""
    missing = order.missing_before(chunk)
    gap = [frame("gap", {"step": chunk.step, "attempt": chunk.attempt, "chunks": missing})] if missing else []
    return gap + [text for number, text in chunk.lines if number > last_id]


class _Attempt(NamedTuple):
    step: str
    attempt: int


class _ChunkOrder:
    """Finds chunks that are missing: those of one attempt are numbered from 0 without a hole."""

    def __init__(self, *, resumed: bool) -> None:
        self._resumed = resumed
        self._next: dict[_Attempt, int] = {}

    def missing_before(self, chunk: ShownChunk) -> int:
        """Return how many chunks were lost before this one."""
        attempt = _Attempt(chunk.step, chunk.attempt)
        expected = self._next.get(attempt, chunk.number if self._resumed else 0)
        self._next[attempt] = chunk.number + 1
        return max(0, chunk.number - expected)
