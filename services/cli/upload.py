"""The delta upload: the service names the blobs it lacks, and only those are sent."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from blake3 import blake3

from services.cli.errors import SourceRefused
from services.cli.events import Upload, View
from services.cli.scan import Source
from shared.client import Client
from shared.client.answers import Project

_PARALLEL = 8
_PARCEL_FILES, _PARCEL_BYTES = 250, 4 * 1024 * 1024
_ALONE_BYTES = 512 * 1024
"""A larger file travels alone."""
_ROUNDS = 3
_SHOWN_EVERY_SECONDS = 0.1


async def upload(client: Client, project: Project, source: Source, view: View) -> str:
    """Bring a tree to the service; return its snapshot id.

    Raises:
        SourceRefused: a file changed under our hands, or the service keeps losing blobs.
    """
    state = await client.offer_source(project.id, source.manifest)
    if state.snapshot_id:
        view.show(Upload(files=0, total_files=0, bytes=0, total_bytes=0))
    rounds = 0
    while not state.snapshot_id:
        if rounds == _ROUNDS:
            raise SourceRefused(
                f"After {_ROUNDS} uploads the service still lacks {len(state.missing)} files. Ask its operator: "
                "its object store loses what it is given."
            )
        await _Transfer(client, project.organization_id, source, view).send(state.missing)
        state = await client.offer_source(project.id, source.manifest)
        rounds += 1
    return state.snapshot_id


@dataclass
class _Transfer:
    client: Client
    organization_id: str
    source: Source
    view: View
    _files: int = 0
    _bytes: int = 0
    _shown_at: float = 0.0

    async def send(self, digests: tuple[str, ...]) -> None:
        sizes = {entry.digest: entry.size for entry in self.source.manifest.files.values()}
        total_files, total_bytes = len(digests), sum(sizes[digest] for digest in digests)
        waiting = parcels({digest: sizes[digest] for digest in digests})

        async def sender() -> None:
            for parcel in waiting:
                await self._send_parcel(parcel)
                self._files += len(parcel)
                self._bytes += sum(sizes[digest] for digest in parcel)
                self._show(total_files, total_bytes)

        self._show(total_files, total_bytes)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_PARALLEL, total_files)):
                    group.create_task(sender())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _send_parcel(self, digests: list[str]) -> None:
        blobs = await asyncio.to_thread(lambda: {digest: self._read(digest) for digest in digests})
        if len(blobs) > 1:
            await self.client.upload_blobs(blobs, self.organization_id)
        else:
            await self.client.upload_blob(digests[0], blobs[digests[0]], self.organization_id)

    def _read(self, digest: str) -> bytes:
        path = self.source.paths[digest]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SourceRefused(f"{path} could not be read any more: {error.strerror}. Deploy again.") from None
        if blake3(data).hexdigest() != digest:
            raise SourceRefused(
                f"{path} changed while it was uploaded. Deploy again when nothing writes to the folder."
            )
        return data

    def _show(self, total_files: int, total_bytes: int) -> None:
        now = time.monotonic()
        if self._files in (0, total_files) or now - self._shown_at > _SHOWN_EVERY_SECONDS:
            self._shown_at = now
            self.view.show(
                Upload(files=self._files, total_files=total_files, bytes=self._bytes, total_bytes=total_bytes)
            )


def parcels(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the digests that travel together, from digest → bytes: a request costs more than a small file."""
    parcel: list[str] = []
    held = 0
    for digest, size in sizes.items():
        if size > _ALONE_BYTES:
            yield [digest]
            continue
        if parcel and (len(parcel) == _PARCEL_FILES or held + size > _PARCEL_BYTES):
            yield parcel
            parcel, held = [], 0
        parcel.append(digest)
        held += size
    if parcel:
        yield parcel
