"""Built files on their way to a caller: one, part of one, or all in an archive that is never whole in memory."""

import asyncio
import gzip
import io
import re
import tarfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO, Literal, NamedTuple, Protocol, cast

from shared.blobs import load
from shared.ports import Manifest, Objects

ArchiveFormat = Literal["tar.gz", "zip"]
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_WRITTEN_AT = (1980, 1, 1, 0, 0, 0)
"""The same tree makes the same archive."""


class Part(NamedTuple):
    """The bytes from `start` up to and without `end`."""

    start: int
    end: int


def part_of(header: str, size: int) -> Part | None:
    """Read a `Range` header with one range; None where it asks for the whole, or in a way that is not answered.

    Raises:
        ValueError: the range lies outside of the file.
    """
    asked = _RANGE.fullmatch(header.strip())
    if asked is None or asked[0] == "bytes=-":
        return None
    first, last = asked[1], asked[2]
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or (first and last and int(last) < start):
        raise ValueError(header)
    return Part(start, end)


async def archive(objects: Objects, manifest: Manifest, format: ArchiveFormat) -> AsyncIterator[bytes]:
    """Yield the files of a tree as an archive, each file as it is read."""
    sink = _Sink()
    writer: _Writer = _Zip(sink) if format == "zip" else _TarGz(sink)
    for path, entry in sorted(manifest.files.items()):
        data = await load(objects, entry.digest, path)
        await asyncio.to_thread(writer.add, path, entry.mode, data)
        for piece in sink.taken():
            yield piece
    await asyncio.to_thread(writer.close)
    for piece in sink.taken():
        yield piece


class _Sink(io.RawIOBase):
    """What is written, until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(cast(bytes, data))
        self._pieces.append(piece)
        return len(piece)

    def taken(self) -> Iterator[bytes]:
        pieces, self._pieces = self._pieces, []
        yield from pieces


class _Writer(Protocol):
    def add(self, path: str, mode: int, data: bytes) -> None: ...

    def close(self) -> None: ...


class _TarGz:
    def __init__(self, sink: _Sink) -> None:
        self._zipped = gzip.GzipFile(fileobj=cast(BinaryIO, sink), mode="wb", compresslevel=6, mtime=0)
        self._tar = tarfile.open(fileobj=self._zipped, mode="w")  # noqa: SIM115 - closed below

    def add(self, path: str, mode: int, data: bytes) -> None:
        member = tarfile.TarInfo(path)
        member.size, member.mode = len(data), mode
        self._tar.addfile(member, io.BytesIO(data))

    def close(self) -> None:
        self._tar.close()
        self._zipped.close()


class _Zip:
    def __init__(self, sink: _Sink) -> None:
        self._zip = zipfile.ZipFile(cast(BinaryIO, sink), "w", zipfile.ZIP_DEFLATED)

    def add(self, path: str, mode: int, data: bytes) -> None:
        member = zipfile.ZipInfo(path, _WRITTEN_AT)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = (0o100000 | mode) << 16
        self._zip.writestr(member, data)

    def close(self) -> None:
        self._zip.close()
