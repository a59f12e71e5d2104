"""The lines of a deployment's log as people see them, numbered the same in stream and archive."""

import msgspec

from shared.contracts.messages import LogChunk
from shared.times import iso_time

LINES_PER_CHUNK = 1000
"""Most lines a chunk may hold, so that the number of a line follows from its chunk's."""


class NumberedLine(msgspec.Struct, frozen=True):
    """One line; archived files hold one as JSON per line.

    Attributes:
        seq: number of the line, growing over the whole deployment; it never changes.
        timestamp: ISO 8601, UTC.
        stream: `stdout`, `stderr` or `system`.
        level: `debug`, `info`, `warn` or `error`.
    """

    seq: int
    timestamp: str
    step: str
    attempt: int
    stream: str
    level: str
    message: str


def numbered(chunk: LogChunk, sequence: int) -> list[NumberedLine]:
    """Return the lines of the chunk that the log stream holds at `sequence`."""
    return [
        NumberedLine(
            seq=sequence * LINES_PER_CHUNK + index,
            timestamp=iso_time(line.timestamp),
            step=chunk.step,
            attempt=chunk.attempt,
            stream=line.stream,
            level=line.level,
            message=line.message,
        )
        for index, line in enumerate(chunk.lines)
    ]


def chunk_before(seq: int) -> int:
    """Return the stream sequence after which a reader who has seen line `seq` must read on."""
    return max(0, seq // LINES_PER_CHUNK - 1)


def archive_prefix(deployment_id: str) -> str:
    """Return where a deployment's archived log files are."""
    return f"logs/{deployment_id}/"
