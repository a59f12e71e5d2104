"""Turns the bytes a command prints into lines for people."""

import codecs
import re

LINE_LIMIT = 8192
"""Characters after which a line is broken."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]")


class Lines:
    """Splits a stream of bytes into lines: UTF-8 with replacement, without terminal controls."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that these bytes complete; no bytes at all is the end of the stream."""
        text = self._rest + self._decoder.decode(data, final=not data)
        *whole, self._rest = text.split("\n")
        if not data or len(self._rest) >= LINE_LIMIT:
            whole += [self._rest] if self._rest else []
            self._rest = ""
        return [piece for line in whole for piece in _pieces(line)]


def _pieces(line: str) -> list[str]:
    shown = _ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2])
    starts = range(0, max(len(shown), 1), LINE_LIMIT)
    return [shown[start : start + LINE_LIMIT] for start in starts]
