"""Reading an uploaded archive that may be hostile: it is only read, nothing in it is unpacked to a path of its own.

Every member is judged by its header first, so that a refused archive leaves nothing behind.
"""

import io
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple

from services.gateway.archive_members import Member, check_growth, checked, refused
from services.gateway.tar_archive import GZIP, tar_members
from services.gateway.zip_archive import ZIP, zip_members

_BATCH_FILES = 256
_BATCH_BYTES = 8 * 1024 * 1024


class SourceFile(NamedTuple):
    """One file of an archive; `mode` 0o644 or 0o755."""

    path: str
    mode: int
    data: bytes


def batches_in(archive: BinaryIO) -> Generator[list[SourceFile], None, None]:
    """Yield the files of a tar.gz or zip that belong to the source, some at a time.

    Raises:
        ZepidError: SOURCE_INVALID: neither of both, or what `checked` refuses.
    """
    with _opened(archive) as members:
        wanted = checked(members)
        check_growth(_size(archive), sum(member.size for member in wanted))
        batch: list[SourceFile] = []
        size = 0
        for member in wanted:
            batch.append(SourceFile(member.path, 0o755 if member.mode & 0o100 else 0o644, member.read()))
            size += member.size
            if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


def _opened(archive: BinaryIO) -> AbstractContextManager[Iterator[Member]]:
    archive.seek(0)
    begin = archive.read(4)
    archive.seek(0)
    if begin.startswith(GZIP):
        return tar_members(archive)
    if begin in ZIP:
        return zip_members(archive)
    raise refused("the body is neither a tar.gz nor a zip")


def _size(archive: BinaryIO) -> int:
    return archive.seek(0, io.SEEK_END)
