"""Parts of a file: `Range` and `If-Range` (RFC 9110, section 14)."""

import re
from collections.abc import Mapping
from typing import NamedTuple

_ONE_RANGE = re.compile(rb"\s*bytes\s*=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE)


class Part(NamedTuple):
    """The bytes from `start` up to and without `end`; none at all when the file does not reach there."""

    start: int
    end: int

    @property
    def is_empty(self) -> bool:
        """Whether the file has none of the bytes."""
        return self.start >= self.end

    def content_range(self, size: int) -> bytes:
        """The header that says which part it is."""
        return b"bytes */%d" % size if self.is_empty else b"bytes %d-%d/%d" % (self.start, self.end - 1, size)


def asked_part(headers: Mapping[bytes, bytes], etag: bytes, size: int) -> Part | None:
    """Return the part that a request asks for; None for the whole file.

    Several ranges, other units and what cannot be read mean the whole file, as does an `If-Range` of another version.
    """
    wanted, only_if = headers.get(b"range"), headers.get(b"if-range")
    if wanted is None or (only_if is not None and only_if != etag):
        return None
    asked = _ONE_RANGE.fullmatch(wanted)
    if asked is None or asked[1] == asked[2] == b"":
        return None
    if not asked[1]:
        return Part(max(0, size - int(asked[2])), size)
    start, end = int(asked[1]), int(asked[2]) + 1 if asked[2] else size
    return None if end <= start and asked[2] else Part(start, min(end, size))
