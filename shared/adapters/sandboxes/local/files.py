"""File operations that survive crashes, other processes and unfriendly permissions."""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

_CHANGED_MEANWHILE = (errno.ENOENT, errno.ENOTEMPTY)


def is_relative(path: str) -> bool:
    """Whether a text is a relative POSIX path that stays below its folder."""
    plain = bool(path) and not path.startswith("/") and "\0" not in path
    return plain and ".." not in PurePosixPath(path).parts


def make_folder(path: Path, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Make a folder with exactly this mode, whatever the umask, and owner; fine if it is there."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if owner:
        os.chown(path, *owner)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole, readable by all; a reader sees the old or the new content."""
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    part.write_bytes(data)
    part.chmod(0o644)
    part.replace(path)


def set_aside(path: Path) -> Path:
    """Rename a file or folder out of the way at once, to be removed at leisure; return its new place."""
    aside = path.with_name(f".gone-{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        path.rename(aside)
    return aside


def remove_set_aside(folder: Path) -> None:
    """Remove everything in a folder that was set aside, by whichever process."""
    for path in folder.glob(".gone-*"):
        remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a folder with all below it, read-only folders included; fine if it is gone."""
    while path.exists():
        try:
            shutil.rmtree(path)
        except PermissionError:
            _make_folders_writable(path)
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in _CHANGED_MEANWHILE:
                raise


def _make_folders_writable(path: Path) -> None:
    path.chmod(0o700)
    for folder, names, _ in os.walk(path):
        for name in names:
            if not (below := Path(folder, name)).is_symlink():
                below.chmod(0o700)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a lock file exclusively against every process of this host; yields its descriptor.

    Raises:
        FileNotFoundError: the folder is gone, also when it went while waiting.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError(path)
        yield descriptor
    finally:
        os.close(descriptor)
