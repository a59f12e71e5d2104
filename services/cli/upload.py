"""The delta upload: the service names the blobs it lacks, and only those are sent."""

import asyncio
import time
from dataclasses import dataclass

from blake3 import blake3

from services.cli.errors import SourceRefused
from services.cli.events import Upload, View
from services.cli.scan import Source
from shared.client import Client
from shared.client.answers import Project

_PARALLEL = 8
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
        waiting = iter(digests)

        async def sender() -> None:
            for digest in waiting:
                await self._send_one(digest)
                self._files += 1
                self._bytes += sizes[digest]
                self._show(total_files, total_bytes)

        self._show(total_files, total_bytes)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_PARALLEL, total_files)):
                    group.create_task(sender())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _send_one(self, digest: str) -> None:
        path = self.source.paths[digest]
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise SourceRefused(f"{path} could not be read any more: {error.strerror}. Deploy again.") from None
        if blake3(data).hexdigest() != digest:
            raise SourceRefused(
                f"{path} changed while it was uploaded. Deploy again when nothing writes to the folder."
            )
        await self.client.upload_blob(digest, data, self.organization_id)

    def _show(self, total_files: int, total_bytes: int) -> None:
        now = time.monotonic()
        if self._files in (0, total_files) or now - self._shown_at > _SHOWN_EVERY_SECONDS:
            self._shown_at = now
            self.view.show(
                Upload(files=self._files, total_files=total_files, bytes=self._bytes, total_bytes=total_bytes)
            )
