"""A small disk of our own for the object store, so that it can be filled."""

import asyncio
import ctypes
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

SIZE_MIB = 64
_CLONE_NEWNS = 0x00020000
_FILLER = "filler"


@asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[str]:
    """Have a small file system in memory at `folder`; yields why there is none, "" when it is there.

    This process and its children get a mount table of their own, so nothing stays behind, however
    they end.
    """
    refusal = await _mount(folder)
    try:
        yield refusal
    finally:
        if not refusal:
            await _run("umount", "--lazy", str(folder))


def fill(folder: Path) -> None:
    """Write until nothing more fits."""
    with (folder / _FILLER).open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while filler.write(bytes(size)) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def free(folder: Path) -> None:
    """Make room again."""
    (folder / _FILLER).unlink(missing_ok=True)


async def _mount(folder: Path) -> str:
    if os.geteuid() != 0:
        return "only root can mount a small disk"
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        return f"a mount table of our own could not be made: {os.strerror(ctypes.get_errno())}"
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)
    if await _run("mount", "--make-rprivate", "/") != 0:
        return "the mount table could not be made private"
    options = f"size={SIZE_MIB}m,mode=0700"
    if await _run("mount", "-t", "tmpfs", "-o", options, "zepid-chaos", str(folder)) != 0:
        return "a file system in memory could not be mounted"
    return ""


async def _run(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()
