"""Projects, their source snapshots, and which blobs each organisation has uploaded."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from shared.adapters.postgres.barrier import keeping_blobs
from shared.adapters.postgres.database import load_queries
from shared.contracts.errors import Failure
from shared.ports import Manifest


class ProjectRow(msgspec.Struct, frozen=True):
    """A project.

    Attributes:
        site: worker name, the first label of the public host name.
        target: where it is served, before its first release where it will be.
        settings: overrides of the build plan, only those that are set.
        created_at: seconds since 1970.
    """

    id: str
    name: str
    organization_id: str
    site: str
    target: str
    is_active: bool
    settings: dict[str, str]
    created_at: float | None

    def seen(self) -> dict[str, Any]:
        """Return what a change may depend on: everything its owner can change."""
        return {"name": self.name, "isActive": self.is_active, "settings": self.settings}


class Deletion(msgspec.Struct, frozen=True):
    """What became of the wish to delete a project.

    Attributes:
        verdict: deleted, not_found, stale or in_progress.
        active_id: with in_progress, the deployment that is in the way.
        cancelled_id: with deleted, the deployment that was cancelled for it, to be called off.
    """

    verdict: str
    active_id: str | None
    cancelled_id: str | None


class PlatformRow(msgspec.Struct, frozen=True):
    """What the platform's own row says of a project's source; the history is JSON, or should be."""

    template_type: str
    message_history: str
    git_url: str
    git_branch: str


class Projects:
    """The tables `project`, `project_settings`, `site`, `snapshot` and `uploaded_blob`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("projects")

    async def create(
        self, *, id: str, name: str, organization_id: str, user_id: str, settings: dict[str, str]
    ) -> ProjectRow:
        """Insert a project, its site and its settings.

        Raises:
            asyncpg.UniqueViolationError: the id is taken.
        """
        row = await self._sql.create(
            self._pool, id=id, name=name, organization_id=organization_id, user_id=user_id, settings=settings
        )
        return msgspec.convert(dict(row), ProjectRow)

    async def find(self, project_id: str) -> ProjectRow | None:
        """Return the project, or None."""
        row = await self._sql.find(self._pool, id=project_id)
        return msgspec.convert(dict(row), ProjectRow) if row else None

    async def change(
        self,
        project_id: str,
        *,
        name: str | None = None,
        is_active: bool | None = None,
        settings: Mapping[str, str | None],
        seen: ProjectRow | None = None,
    ) -> str:
        """Change what is given; a setting of None is detected again.

        Returns:
            `changed`, `not_found`, or `stale`: the project isn't as `seen` any more, and nothing was changed.
        """
        verdict = await self._sql.change(
            self._pool,
            id=project_id,
            name=name,
            is_active=is_active,
            settings=settings,
            seen=seen and seen.seen(),
        )
        return str(verdict)

    async def delete(
        self, project_id: str, deleted_by: str, *, seen: ProjectRow | None = None, cancelling: Failure | None = None
    ) -> Deletion:
        """Delete a project; with `cancelling` its present deployment ends with that failure, else it is in the way."""
        row = await self._sql.delete(
            self._pool, id=project_id, deleted_by=deleted_by, seen=seen and seen.seen(), cancelling=cancelling
        )
        return msgspec.convert(dict(row), Deletion)

    async def platform_row(self, project_id: str, organization_id: str) -> PlatformRow | None:
        """Return what an organisation's active project says of its source, or None."""
        row = await self._sql.platform_row(self._pool, id=project_id, organization_id=organization_id)
        return msgspec.convert(dict(row), PlatformRow) if row else None

    async def page(self, organization_id: str | None, after: str | None, limit: int) -> list[ProjectRow]:
        """Return projects newest first, those below the project `after`; None: all, from the first."""
        rows = self._sql.page(self._pool, organization_id=organization_id, after=after, limit=limit)
        return msgspec.convert([dict(row) async for row in rows], list[ProjectRow])

    def keeping_blobs(self) -> AbstractAsyncContextManager[PoolConnectionProxy]:
        """Let no blob be removed for the length of a block; what is recorded in it is recorded on its connection."""
        return keeping_blobs(self._pool)

    async def blob_sizes(
        self, organization_id: str, digests: Iterable[str], on: PoolConnectionProxy | None = None
    ) -> dict[str, int]:
        """Return the size in bytes of those blobs that this organisation has uploaded, by digest."""
        rows = self._sql.blob_sizes(on or self._pool, organization_id=organization_id, digests=list(digests))
        return {row["digest"]: row["size"] async for row in rows}

    async def record_blobs(self, organization_id: str, sizes: Mapping[str, int], on: PoolConnectionProxy) -> None:
        """Remember that an organisation has uploaded these blobs: size in bytes by digest."""
        await self._sql.record_blobs(
            on, organization_id=organization_id, digests=list(sizes), sizes=list(sizes.values())
        )

    async def record_snapshot(
        self, project_id: str, organization_id: str, manifest_digest: str, manifest: Manifest, on: PoolConnectionProxy
    ) -> str:
        """Make a tree the project's latest snapshot; return its id, the same for an unchanged tree."""
        snapshot_id = await self._sql.record_snapshot(
            on,
            id=f"snap_{uuid4().hex}",
            project_id=project_id,
            organization_id=organization_id,
            manifest=manifest_digest,
            file_count=len(manifest.files),
            total_bytes=manifest.total_bytes,
        )
        return str(snapshot_id)
