"""Writes a tree as a sandbox's source: fetched in parallel, verified, visible whole or not at all."""

import asyncio
import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from blake3 import blake3

from shared.adapters.sandboxes.local.files import is_relative, make_folder, remove_set_aside, remove_tree, set_aside
from shared.adapters.sandboxes.local.folder import SandboxFolder
from shared.contracts.errors import ZepidError
from shared.ports import Entry, Fence, Manifest, Objects

_WRITERS = 4
_BATCH_FILES = 64
_BATCH_BYTES = 8 << 20

_PATH_ERRORS = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)

Batch = list[tuple[str, Entry]]


async def write_source(folder: SandboxFolder, fence: Fence, manifest: Manifest, objects: Objects) -> None:
    """Replace the sandbox's source by a tree; what commands changed goes with the old one.

    Raises:
        ZepidError: SOURCE_INVALID, a path is unusable; STORAGE_READ_FAILED, a blob is missing or
            damaged; SANDBOX_COMMAND_FAILED, the disk did not take it; and as `SandboxFolder.claimed`.
    """
    new = folder.path / f".new-{uuid.uuid4().hex}"
    try:
        await asyncio.to_thread(_make_folders, folder, fence, new, manifest)
        await _write_all(new, folder.owner, manifest, objects)
        await asyncio.to_thread(_replace, folder, fence, new)
    except OSError as error:
        raise ZepidError("SANDBOX_COMMAND_FAILED", f"The source could not be written: {error.strerror}.") from error
    finally:
        await asyncio.to_thread(remove_tree, new)
    await asyncio.to_thread(remove_set_aside, folder.path)


async def _write_all(new: Path, owner: tuple[int, int] | None, manifest: Manifest, objects: Objects) -> None:
    batches = _batches(manifest)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_WRITERS):
                group.create_task(_write_batches(new, owner, batches, objects))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _make_folders(folder: SandboxFolder, fence: Fence, new: Path, manifest: Manifest) -> None:
    for path in manifest.files:
        if not is_relative(path):
            raise ZepidError("SOURCE_INVALID", f"The path {path!r} leaves the project; rename the file.")
    with folder.claimed(fence):
        make_folder(new, 0o755, folder.owner)
    parents = {parent for path in manifest.files for parent in Path(path).parents}
    for parent in sorted(parents - {Path()}):
        try:
            make_folder(new / parent, 0o755, folder.owner)
        except OSError as error:
            raise _unusable(str(parent), error) from error


def _batches(manifest: Manifest) -> Iterator[Batch]:
    batch: Batch = []
    size = 0
    for path, entry in manifest.files.items():
        if batch and (len(batch) >= _BATCH_FILES or size + entry.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((path, entry))
        size += entry.size
    yield batch


async def _write_batches(new: Path, owner: tuple[int, int] | None, batches: Iterator[Batch], objects: Objects) -> None:
    for batch in batches:
        blobs = await asyncio.gather(*(objects.get(f"blobs/{entry.digest}") for _, entry in batch))
        await asyncio.to_thread(_write_files, new, owner, zip(batch, blobs, strict=True))


def _write_files(
    new: Path, owner: tuple[int, int] | None, files: Iterable[tuple[tuple[str, Entry], bytes | None]]
) -> None:
    for (path, entry), data in files:
        if data is None or blake3(data).hexdigest() != entry.digest:
            found = "missing from" if data is None else "damaged in"
            raise ZepidError("STORAGE_READ_FAILED", f"The content of {path} is {found} the object store.")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(new / path, flags, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(data)
            os.fchmod(descriptor, 0o755 if entry.mode & 0o100 else 0o644)
            if owner:
                os.fchown(descriptor, *owner)


def _unusable(path: str, error: OSError) -> Exception:
    """Return what to raise: the path's fault, or the error itself when the disk is at fault."""
    if error.errno not in _PATH_ERRORS:
        return error
    return ZepidError("SOURCE_INVALID", f"The path {path!r} cannot be written: {error.strerror}.", file=path)


def _replace(folder: SandboxFolder, fence: Fence, new: Path) -> None:
    with folder.claimed(fence):
        folder.set_layer("")
        folder.renew("upper", "work", "home")
        set_aside(folder.path / "source")
        new.rename(folder.path / "source")
