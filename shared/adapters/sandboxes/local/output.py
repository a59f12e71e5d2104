"""Reads a folder of the project as commands left it.

The project is whole only inside the sandbox, so programs of the system (find, tar) are run there,
without network; their answer is untrusted and checked.
"""

import asyncio
import os
import re
import shlex
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import BinaryIO

from shared.adapters.sandboxes.local.command import Command
from shared.adapters.sandboxes.local.files import is_relative
from shared.contracts.errors import ZepidError
from shared.ports import OutputFile

MAX_FILES = 20_000
MAX_FILE_BYTES = 25 << 20
_BATCH_FILES = 256
_BATCH_BYTES = 8 << 20
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NO_FOLDER = 66
_SOME_FILES_CHANGED = 1


def tar_line(folder: str) -> str:
    """Return the shell line that prints a folder as a tar; links within the project are followed.

    Raises:
        ZepidError: BUILD_OUTPUT_INVALID, the folder leaves the project.
    """
    if not is_relative(folder):
        raise ZepidError("BUILD_OUTPUT_INVALID", f"The output folder {folder!r} leaves the project.")
    return (
        f"cd /project/{shlex.quote(folder)} 2>/dev/null || exit {_NO_FOLDER}\n"
        f'case "$(pwd -P)/" in /project/*) ;; *) exit {_NO_FOLDER};; esac\n'
        "find -L . -type f -print0 2>/dev/null"
        " | tar --create --format=gnu --no-recursion --dereference --hard-dereference"
        " --null --verbatim-files-from --files-from=- --file=-"
    )


def find_line(candidates: list[str]) -> str:
    """Return the shell line that prints the position of each folder that has a file."""
    checks = [
        f'[ -d {path} ] && [ -n "$(find -L {path} -type f -print -quit 2>/dev/null)" ] && echo {position}'
        for position, path in enumerate(shlex.quote(f"./{candidate}") for candidate in candidates)
    ]
    return "\n".join([*checks, "exit 0"])


async def collect_files(command: Command, folder: str) -> AsyncIterator[OutputFile]:
    """Yield the regular files that a command started with `tar_line` prints.

    Raises:
        ZepidError: BUILD_NO_OUTPUT, there is no such folder; BUILD_OUTPUT_INVALID, a file is too
            large, there are too many, or a name is unusable; and as `Command.started`.
    """
    read, write = os.pipe()
    batches = _batches(os.fdopen(read, "rb"))
    try:
        async with command.started(stdout=write) as started:
            assert started.process.stderr is not None
            errors = asyncio.create_task(started.process.stderr.read())
            os.close(write)
            write = -1
            while batch := await asyncio.to_thread(next, batches, None):
                for file in batch:
                    yield file
            await started.process.wait()
    finally:
        if write >= 0:
            os.close(write)
    lines = (await errors).decode(errors="replace").splitlines()[-10:]
    result = await started.exit(lines)
    if result.code == _NO_FOLDER:
        raise ZepidError("BUILD_NO_OUTPUT", f"There is no folder {folder} in the project after the build.")
    if result.code > _SOME_FILES_CHANGED:
        raise ZepidError(
            "BUILD_OUTPUT_INVALID", f"The output folder {folder} could not be read.", excerpt="\n".join(lines)
        )


def _batches(stream: BinaryIO) -> Iterator[list[OutputFile]]:
    """Yield the files of a tar a few MiB at a time; a broken end is left to tar's exit code."""
    batch: list[OutputFile] = []
    size = 0
    with stream, suppress(tarfile.ReadError), tarfile.open(fileobj=stream, mode="r|") as archive:
        for number, file in enumerate(_files(archive), start=1):
            if number > MAX_FILES:
                raise ZepidError("BUILD_OUTPUT_INVALID", f"The output has more than {MAX_FILES:,} files.")
            batch.append(file)
            size += len(file.data)
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
                yield batch
                batch, size = [], 0
        _read_on(stream)
    if batch:
        yield batch


def _read_on(stream: BinaryIO) -> None:
    """Read the padding behind the archive's end: tar would die of a pipe closed under it."""
    while stream.read(1 << 16):
        continue


def _files(archive: tarfile.TarFile) -> Iterator[OutputFile]:
    for member in archive:
        if not member.isreg():
            continue
        path = member.name.removeprefix("./")
        if not is_relative(path) or _UNUSABLE.search(path):
            raise ZepidError("BUILD_OUTPUT_INVALID", f"The output has a file with an unusable name: {path!r}.")
        if member.size > MAX_FILE_BYTES:
            raise ZepidError(
                "BUILD_OUTPUT_INVALID", f"{path} has {member.size / (1 << 20):.1f} MiB; 25 MiB is the limit.", file=path
            )
        content = archive.extractfile(member)
        assert content is not None
        yield OutputFile(path, 0o755 if member.mode & 0o100 else 0o644, content.read())
