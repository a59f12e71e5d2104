"""A chunk of a log as its live watchers get it: each line ready to be sent."""

import msgspec

from services.gateway.event_stream import frame
from shared.adapters.jetstream.bus import Stored, decode_chunk
from shared.log_lines import numbered


class ShownChunk(msgspec.Struct, frozen=True):
    """One chunk; `lines` are (number of the line, its `log` event)."""

    step: str
    attempt: int
    number: int
    lines: tuple[tuple[int, bytes], ...]


def shown_chunk(stored: Stored) -> ShownChunk:
    """Return what watchers get of a message of the log stream."""
    chunk = decode_chunk(stored.data)
    lines = tuple((line.seq, frame("log", line, line.seq)) for line in numbered(chunk, stored.sequence))
    return ShownChunk(step=chunk.step, attempt=chunk.attempt, number=chunk.number, lines=lines)
