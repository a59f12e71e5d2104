"""What the members of a hostile archive may be: each is judged by its header, before a byte of it is unpacked."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from shared.blobs import file_above, safe_path
from shared.contracts.errors import ZepidError
from shared.source_rules import MAX_FILE_BYTES, MAX_FILES, is_synced

MAX_ARCHIVE_BYTES = 500 * 1024 * 1024
"""Most bytes an archive may have, packed as well as unpacked."""

_MOST_ENTRIES = 200_000
_MOST_GROWTH = 200
_GROWTH_FREE_BYTES = 64 * 1024 * 1024
_DRIVE = re.compile(r"[A-Za-z]:")


class Member(NamedTuple):
    """One entry of an archive, by its header.

    Attributes:
        path: its name, as written except for a leading `./`.
        mode: permission bits.
        size: bytes it says to unpack to.
        fault: why it can't be taken, "" when it can.
        read: returns its bytes; raises SOURCE_INVALID when they are not what the header says.
        is_folder: whether it is a folder; those are passed over, for folders follow from the files.
    """

    path: str
    mode: int
    size: int
    fault: str
    read: Callable[[], bytes]
    is_folder: bool = False


def refused(message: str) -> ZepidError:
    """Return SOURCE_INVALID with a sentence that names the file."""
    return ZepidError("SOURCE_INVALID", message)


def checked(members: Iterable[Member]) -> list[Member]:
    """Return the members that belong to the source.

    Raises:
        ZepidError: SOURCE_INVALID, naming the first that can't be taken: a path that leaves the tree, a link, a
            device, a file twice, two that differ only by case, too large, or too much of everything.
    """
    found: dict[str, Member] = {}
    spellings: dict[str, str] = {}
    total = 0
    for member in _files_of(members):
        path = _path(member)
        if not is_synced(path):
            continue
        _check(member)
        if (other := spellings.setdefault(_spelling(path), path)) != path:
            raise refused(f"{path}: differs from {other} only by upper and lower case or by its accents' encoding")
        if path in found:
            raise refused(f"{path}: is in the archive twice")
        if len(found) == MAX_FILES:
            raise refused(f"{path}: is one file too many; a tree may have {MAX_FILES}")
        if (total := total + member.size) > MAX_ARCHIVE_BYTES:
            raise refused(f"{path}: with it the files have more than {MAX_ARCHIVE_BYTES} bytes when unpacked")
        found[path] = member
    for path in found:
        if folder := file_above(path, found):
            raise refused(f"{path}: {folder} is a file, so nothing can be below it")
    if not found:
        raise refused("the archive holds no file to deploy")
    return list(found.values())


def check_growth(packed: int, unpacked: int) -> None:
    """Refuse an archive that is a bomb: `unpacked` bytes are known so far.

    Raises:
        ZepidError: SOURCE_INVALID.
    """
    if unpacked > MAX_ARCHIVE_BYTES:
        raise refused(f"the archive has more than {MAX_ARCHIVE_BYTES} bytes when unpacked")
    if unpacked > _GROWTH_FREE_BYTES and unpacked > _MOST_GROWTH * packed:
        raise refused(f"the archive grows to more than {_MOST_GROWTH} times its size when unpacked")


def _files_of(members: Iterable[Member]) -> Iterator[Member]:
    for number, member in enumerate(members, start=1):
        if number > _MOST_ENTRIES:
            raise refused(f"the archive has more than {_MOST_ENTRIES} entries")
        if not member.is_folder:
            yield member


def _path(member: Member) -> str:
    path = safe_path(member.path)
    if "\\" in path:
        raise refused(f"{path!r}: has a backslash in its name; folders are separated by /")
    if _DRIVE.match(path):
        raise refused(f"{path!r}: begins like the name of a drive")
    return path


def _check(member: Member) -> None:
    if member.fault:
        raise refused(f"{member.path}: {member.fault}")
    if not 0 <= member.size <= MAX_FILE_BYTES:
        raise refused(f"{member.path}: has {member.size} bytes; a file may have {MAX_FILE_BYTES}")


def _spelling(path: str) -> str:
    """Return what a file system that ignores case and composes accents makes of a path."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
