"""A commit's tree as files: plain files only, links within the tree as copies, everything else left out and said."""

import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Blob, ObjectID, Tree

from shared.blobs import file_above, safe_path
from shared.contracts.errors import ZepidError
from shared.source_rules import MAX_FILE_BYTES, MAX_FILES, is_synced, may_hold_synced

_MOST_BYTES = 500 * 1024 * 1024
_MOST_HOPS = 8
_MOST_ENTRIES = 200_000
_MOST_NAMED = 3
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_BYTES = 1024


class _File(NamedTuple):
    mode: int
    id: ObjectID


class Checkout:
    """Writes the tree of one commit.

    Attributes:
        warnings: what was left out, one sentence each.
    """

    def __init__(self, store: BaseObjectStore, tree: ObjectID) -> None:
        self.warnings: list[str] = []
        self._store = store
        self._entries = 0
        self._left_out: dict[str, list[str]] = {}
        self._files = dict(self._walk(tree, ""))

    def write(self, folder: Path) -> int:
        """Write the files below a folder; return how many they are.

        Raises:
            ZepidError: SOURCE_GIT_TOO_LARGE or SOURCE_GIT_INVALID, naming the file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        total = count = 0
        for path in self._files:
            file = self._target(path)
            if file is None:
                self._leave_out("links that lead out of the tree, to a folder or to nothing", path)
                continue
            data = self._blob(file, path)
            if len(data) <= _POINTER_BYTES and data.startswith(_POINTER):
                self._leave_out("files of Git LFS that are deployed as their pointers, for LFS is not asked", path)
            count, total = count + 1, total + len(data)
            _check(path, len(data), count, total)
            if above := file_above(path, self._files):
                raise ZepidError("SOURCE_GIT_INVALID", f"{above} is both a file and a folder of the repository")
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            place.chmod(0o755 if file.mode & 0o100 else 0o644)
        self.warnings += [_sentence(what, paths) for what, paths in self._left_out.items()]
        return count

    def _walk(self, tree: ObjectID, prefix: str) -> Iterator[tuple[str, _File]]:
        found = self._store[tree]
        if not isinstance(found, Tree):
            raise ZepidError("SOURCE_GIT_INVALID", f"The repository's folder {prefix or '.'} is no folder")
        for entry in found.iteritems():
            self._entries += 1
            if self._entries > _MOST_ENTRIES:
                raise ZepidError("SOURCE_GIT_TOO_LARGE", f"The tree has more than {_MOST_ENTRIES} entries")
            path = _path(prefix, entry.path)
            if stat.S_ISDIR(entry.mode):
                if may_hold_synced(path):
                    yield from self._walk(entry.sha, f"{path}/")
            elif is_synced(path):
                if stat.S_ISREG(entry.mode) or stat.S_ISLNK(entry.mode):
                    yield path, _File(entry.mode, entry.sha)
                else:
                    self._leave_out("submodules, which are not fetched", path)

    def _target(self, path: str) -> _File | None:
        """Return what a path stands for: itself, or the file of the tree that a link leads to."""
        for _ in range(_MOST_HOPS):
            file = self._files.get(path)
            if file is None or not stat.S_ISLNK(file.mode):
                return file
            target = self._blob(file, path).decode(errors="replace")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        return None

    def _blob(self, file: _File, path: str) -> bytes:
        found = self._store[file.id]
        if not isinstance(found, Blob):
            raise ZepidError("SOURCE_GIT_INVALID", f"The repository's file {path} is no file")
        return found.data

    def _leave_out(self, what: str, path: str) -> None:
        self._left_out.setdefault(what, []).append(path)


def _path(prefix: str, name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = ""
    if "/" in text or not text.isprintable() or not text:
        raise ZepidError("SOURCE_GIT_INVALID", f"The file name {name!r} in {prefix or '.'} is not printable UTF-8")
    return safe_path(prefix + text)


def _check(path: str, size: int, count: int, total: int) -> None:
    if size > MAX_FILE_BYTES:
        raise ZepidError("SOURCE_GIT_TOO_LARGE", f"{path} has {size / 2**20:.1f} MiB; 25 MiB is the limit", file=path)
    if count > MAX_FILES:
        raise ZepidError("SOURCE_GIT_TOO_LARGE", f"The tree has more than {MAX_FILES:,} files")
    if total > _MOST_BYTES:
        raise ZepidError("SOURCE_GIT_TOO_LARGE", f"The tree has more than {_MOST_BYTES >> 20} MiB")


def _sentence(what: str, paths: list[str]) -> str:
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return f"{len(paths)} {what}: {', '.join(paths[:_MOST_NAMED])}{more}"
