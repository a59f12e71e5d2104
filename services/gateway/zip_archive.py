"""The members of a zip: what its directory says of them must hold, and tricks that readers disagree on are refused."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

from services.gateway.archive_members import Member, refused

ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""How a zip begins; the second one is empty."""

_LONGEST_DIRECTORY = 12 * 1024 * 1024
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_UTF8 = 0x0800
_UNICODE_PATH = 0x7075
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError, OSError)


@contextmanager
def zip_members(archive: BinaryIO) -> Iterator[Iterator[Member]]:
    """Open a zip for the length of a block; yields its members.

    Raises:
        ZepidError: SOURCE_INVALID, it can't be read.
    """
    try:
        with zipfile.ZipFile(_ShortReads(archive)) as file:
            yield (_member(file, info) for info in file.infolist())
    except UnicodeDecodeError:
        raise refused("the zip has a file whose name is not UTF-8") from None
    except _BROKEN as error:
        raise refused(f"the body is not a usable zip: {error}") from None


def _member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    path, mode = _name(info), info.external_attr >> 16
    read = partial(_read, file, info, path)
    return Member(path.removeprefix("./"), mode, info.file_size, _fault(info, mode), read, path.endswith("/"))


def _name(info: zipfile.ZipInfo) -> str:
    """Return the name as UTF-8: declared so, or found in the field for it, or as most programs write it undeclared."""
    written = info.orig_filename
    if info.flag_bits & _UTF8:
        return written
    raw = written.encode("cp437")
    if declared := _unicode_path(info.extra, raw):
        return declared
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise refused(f"{written!r}: its name is not UTF-8") from None


def _unicode_path(extra: bytes, raw: bytes) -> str:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and field[:1] == b"\x01" and field[1:5] == struct.pack("<I", zlib.crc32(raw)):
            return field[5:].decode()
    return ""


def _fault(info: zipfile.ZipInfo, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "is a link; only regular files can be uploaded"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is not a regular file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is packed by a method other than deflate"
    return ""


def _read(file: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> bytes:
    try:
        data = file.read(info)
    except _BROKEN as error:
        raise refused(f"{path}: can't be unpacked: {error}") from None
    if len(data) != info.file_size:
        raise refused(f"{path}: unpacks to {len(data)} bytes instead of {info.file_size}")
    return data


class _ShortReads:
    """A file from which no directory is read that is larger than that of any tree one may upload."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _LONGEST_DIRECTORY:
            raise refused("the zip's directory is too large")
        return self._file.read(size)
