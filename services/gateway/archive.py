"""Reading an uploaded tar.gz that may be hostile: it is only read, nothing in it is ever unpacked to disk."""

import gzip
import io
import tarfile
import tempfile
import zlib
from collections.abc import Generator
from typing import BinaryIO, NamedTuple

from shared.blobs import safe_path
from shared.contracts.errors import ZepidError
from shared.source_rules import MAX_FILE_BYTES, is_synced

MAX_ARCHIVE_BYTES = 500 * 1024 * 1024
"""Most bytes an archive may have, packed as well as unpacked."""

_MOST_ENTRIES = 200_000
_LONGEST_READ = MAX_FILE_BYTES
_PIECE = 1024 * 1024


class SourceFile(NamedTuple):
    """One file of an archive; `mode` 0o644 or 0o755."""

    path: str
    mode: int
    data: bytes


def files_in(archive: BinaryIO) -> Generator[SourceFile, None, None]:
    """Yield the files of a tar.gz that belong to the source, in its order.

    Raises:
        ZepidError: SOURCE_INVALID: not a tar.gz, a path that leaves the tree, a link, a device,
            a file twice or too large, or too much of everything.
    """
    seen: set[str] = set()
    try:
        with _unzipped(archive) as plain, tarfile.open(fileobj=plain, mode="r:") as tar:
            for entries, member in enumerate(tar, start=1):
                if entries > _MOST_ENTRIES:
                    raise refused(f"the archive has more than {_MOST_ENTRIES} entries")
                path = member.name.removeprefix("./")
                if member.isdir() and path in ("", "."):
                    continue
                if _is_wanted(member, safe_path(path), seen):
                    seen.add(path)
                    yield _read(tar, member, path)
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise refused(f"the body is not a usable tar.gz: {error}") from None


def refused(message: str) -> ZepidError:
    """Return SOURCE_INVALID with a sentence that names the file."""
    return ZepidError("SOURCE_INVALID", message)


def _is_wanted(member: tarfile.TarInfo, path: str, seen: set[str]) -> bool:
    if member.isdir() or not is_synced(path):
        return False
    if not member.isreg() or member.issparse():
        kind = "a link" if member.issym() or member.islnk() else "not a regular file"
        raise refused(f"{path}: is {kind}; only regular files can be uploaded")
    if path in seen:
        raise refused(f"{path}: is in the archive twice")
    if member.size > MAX_FILE_BYTES:
        raise refused(f"{path}: has {member.size} bytes; a file may have {MAX_FILE_BYTES}")
    return True


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> SourceFile:
    content = tar.extractfile(member)
    data = content.read() if content else b""
    if len(data) != member.size:
        raise refused(f"{path}: the archive ends in the middle of this file")
    return SourceFile(path, 0o755 if member.mode & 0o100 else 0o644, data)


def _unzipped(archive: BinaryIO) -> BinaryIO:
    """Return the tar in a temporary file of its own, so that a bomb is noticed and seeking is cheap."""
    plain = _ShortReads(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - closed below or by the caller
    try:
        with gzip.GzipFile(fileobj=archive) as zipped:
            while piece := zipped.read(_PIECE):
                if plain.write(piece) and plain.tell() > MAX_ARCHIVE_BYTES:
                    raise refused(f"the archive has more than {MAX_ARCHIVE_BYTES} bytes when unpacked")
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
