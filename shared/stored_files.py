"""Files that come out of a sandbox, stored as blobs and named by one manifest."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from shared.blobs import add
from shared.contracts.errors import ZepidError
from shared.ports import Entry, Manifest, Objects, OutputFile
from shared.source_rules import MAX_FILE_BYTES, MAX_FILES

_PARALLEL = 8


class Collected(NamedTuple):
    """Files read from the sandbox and stored, and how many of them the bucket did not have yet."""

    manifest: Manifest
    new: int


async def store_files(objects: Objects, files: AsyncIterator[OutputFile]) -> Collected:
    """Store files as they come, a few at a time.

    Raises:
        ZepidError: BUILD_OUTPUT_INVALID beyond the limits of a release; what the iterator raises.
    """
    entries: dict[str, Entry] = {}
    running: set[asyncio.Task[bool]] = set()
    new = 0

    async def keep(file: OutputFile) -> bool:
        stored = await add(objects, file.data)
        entries[file.path] = Entry(stored.digest, len(file.data), file.mode)
        return stored.new

    try:
        count = 0
        async for file in files:
            count += 1
            _check_limits(file, count)
            running.add(asyncio.create_task(keep(file)))
            if len(running) >= _PARALLEL:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                new += sum(task.result() for task in done)
        new += sum(await asyncio.gather(*running))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return Collected(Manifest(dict(sorted(entries.items()))), new)


def _check_limits(file: OutputFile, count: int) -> None:
    if count > MAX_FILES:
        raise ZepidError("BUILD_OUTPUT_INVALID", f"the output has more than {MAX_FILES:,} files")
    if len(file.data) > MAX_FILE_BYTES:
        size = len(file.data) / 2**20
        raise ZepidError("BUILD_OUTPUT_INVALID", f"{file.path} has {size:.1f} MiB; 25 MiB is the limit", file=file.path)
