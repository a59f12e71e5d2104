"""The log of one attempt: lines go in, numbered chunks go out, soon and in order."""

import asyncio
import contextlib
import time
from functools import partial

from shared.adapters.jetstream.bus import Bus
from shared.attempt import Attempt
from shared.contracts.errors import ZepidError
from shared.contracts.messages import LogChunk, LogLine
from shared.log_lines import LINES_PER_CHUNK
from shared.outage import insist
from shared.telemetry import log

CHUNK_BYTES = 32 * 1024
FLUSH_SECONDS = 0.25
ATTEMPT_BYTES = 8 * 1024 * 1024
_LINE_OVERHEAD = 80


class JournalLog:
    """A `StepLog` that publishes to the log stream; nothing is started before the first line."""

    def __init__(self, bus: Bus, attempt: Attempt) -> None:
        self._bus = bus
        self._attempt = attempt
        self._lines: list[LogLine] = []
        self._buffered = 0
        self._written = 0
        self._number = 0
        self._full = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None
        self._closing = False

    def write(self, stream: str, message: str, level: str = "info") -> None:
        """Append one line; beyond the limit of an attempt lines are dropped, and that is said."""
        if self._written > ATTEMPT_BYTES:
            return
        self._written += len(message) + _LINE_OVERHEAD
        if self._written > ATTEMPT_BYTES:
            stream, level = "system", "warn"
            message = f"log limit of {ATTEMPT_BYTES // 1024 // 1024} MiB reached: the rest of this attempt is not kept"
        self._lines.append(LogLine(timestamp=time.time(), message=message, stream=stream, level=level))
        self._buffered += len(message) + _LINE_OVERHEAD
        if self._buffered >= CHUNK_BYTES:
            self._full.set()
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_often())

    async def close(self) -> None:
        """Publish what is left; returns when every line is stored or given up."""
        if self._flusher is not None:
            self._closing = True
            self._full.set()
            await self._flusher

    async def _flush_often(self) -> None:
        while not (self._closing and not self._lines):
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), FLUSH_SECONDS)
            self._full.clear()
            if self._lines:
                await self._publish_chunk()

    async def _publish_chunk(self) -> None:
        size = count = 0
        for line in self._lines[:LINES_PER_CHUNK]:
            size += len(line.message) + _LINE_OVERHEAD
            if count and size > CHUNK_BYTES:
                break
            count += 1
        lines, self._lines = tuple(self._lines[:count]), self._lines[count:]
        self._buffered = sum(len(line.message) + _LINE_OVERHEAD for line in self._lines)
        if self._buffered >= CHUNK_BYTES:
            self._full.set()
        chunk = LogChunk(
            deployment_id=self._attempt.command.deployment_id,
            step=self._attempt.command.step,
            attempt=self._attempt.number,
            number=self._number,
            lines=lines,
        )
        self._number += 1
        try:
            await insist(partial(self._bus.append_log, chunk, f"{self._attempt.command.epoch}.{self._attempt.copy}"))
        except ZepidError as error:
            log.warning("log lines lost", deployment=chunk.deployment_id, lines=len(lines), error=error.message)
            if not self._closing:
                text = f"{len(lines)} lines are missing here: the broker was away for too long"
                self._lines.insert(0, LogLine(timestamp=time.time(), message=text, level="warn"))
