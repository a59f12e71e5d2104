"""The members of a tar.gz: unpacked to a nameless temporary file, so that a bomb is noticed and seeking is cheap."""

import gzip
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

from services.gateway.archive_members import Member, check_growth, refused
from shared.source_rules import MAX_FILE_BYTES

GZIP = b"\x1f\x8b"
"""How a tar.gz begins."""

_LONGEST_READ = MAX_FILE_BYTES
_PIECE = 1024 * 1024
_BROKEN = (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, ValueError)


@contextmanager
def tar_members(archive: BinaryIO) -> Iterator[Iterator[Member]]:
    """Open a tar.gz for the length of a block; yields its members.

    Raises:
        ZepidError: SOURCE_INVALID, it can't be read, or unpacks to too much.
    """
    try:
        with _unpacked(archive) as plain, tarfile.open(fileobj=plain, mode="r:") as tar:
            yield (_member(tar, info) for info in tar)
    except _BROKEN as error:
        raise refused(f"the body is not a usable tar.gz: {error}") from None


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    path = info.name.removeprefix("./")
    return Member(path, info.mode, info.size, _fault(info), partial(_read, tar, info, path), info.isdir())


def _fault(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "is a link; only regular files can be uploaded"
    return "" if info.isreg() and not info.issparse() else "is not a regular file"


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> bytes:
    content = tar.extractfile(info)
    data = content.read() if content else b""
    if len(data) != info.size:
        raise refused(f"{path}: the archive ends in the middle of this file")
    return data


def _unpacked(archive: BinaryIO) -> BinaryIO:
    packed = archive.seek(0, os.SEEK_END)
    archive.seek(0)
    plain = _ShortReads(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - closed below or by the caller
    try:
        with gzip.GzipFile(fileobj=archive) as zipped:
            while piece := zipped.read(_PIECE):
                plain.write(piece)
                check_growth(packed, plain.tell())
        plain.seek(0)
    except BaseException:
        plain.close()
        raise
    return plain


class _ShortReads(io.BufferedRandom):
    """Refuses the read of a header that claims to be larger than any file may be."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _LONGEST_READ:
            raise refused("the archive has a header that is too large")
        return super().read(size)
