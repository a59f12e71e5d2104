"""A deployment's log, from the archive and the stream: both number the same line the same."""

import asyncio
from typing import NamedTuple

import msgspec

from shared.adapters.jetstream.bus import Bus, decode_chunk
from shared.contracts import subjects
from shared.log_lines import NumberedLine, archive_prefix, chunk_before, numbered
from shared.ports import Objects

_decode_lines = msgspec.json.Decoder(NumberedLine).decode_lines


class Page(NamedTuple):
    """Lines in order, and whether more of them are there now."""

    lines: list[NumberedLine]
    more: bool


class LogReader:
    """Reads what is there now. A line that is in both places is shown once."""

    def __init__(self, bus: Bus, archive: Objects) -> None:
        self._bus = bus
        self._archive = archive

    async def page(self, deployment_id: str, after: int, limit: int, step: str | None = None) -> Page:
        """Return up to `limit` lines with a higher number than `after`, of one step or all."""
        archived, streamed = await asyncio.gather(
            self._archived(deployment_id), self._streamed(deployment_id, after, step)
        )
        lines = {line.seq: line for line in (*archived, *streamed)}
        wanted = [lines[seq] for seq in sorted(lines) if seq > after and step in (None, lines[seq].step)]
        return Page(wanted[:limit], more=len(wanted) > limit)

    async def _archived(self, deployment_id: str) -> list[NumberedLine]:
        lines: list[NumberedLine] = []
        async for key in self._archive.keys(archive_prefix(deployment_id)):
            data = await self._archive.get(key)
            lines += await asyncio.to_thread(_decode_lines, data or b"")
        return lines

    async def _streamed(self, deployment_id: str, after: int, step: str | None) -> list[NumberedLine]:
        subject = subjects.log(deployment_id, step) if step else subjects.logs_of(deployment_id)
        position = chunk_before(after)
        lines: list[NumberedLine] = []
        while messages := await self._bus.history(subjects.LOG_STREAM, subject, position):
            position = messages[-1].sequence
            for message in messages:
                lines += numbered(decode_chunk(message.data), message.sequence)
        return lines
