"""Releases of a project: which there are, which one is live, which are kept, and whether any of it may change."""

from typing import NamedTuple

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries


class ReleaseRow(msgspec.Struct, frozen=True):
    """A release that was live once.

    Attributes:
        created_at: seconds since 1970.
        live: the site's pointer names it.
        pinned: it does not expire.
        kept: its files are there; only then can the site go back to it.
    """

    id: str
    deployment_id: str
    created_at: float
    site: str
    target: str
    live: bool
    pinned: bool
    kept: bool
    file_count: int
    total_bytes: int


class BuiltRow(msgspec.Struct, frozen=True):
    """What a deployment has built, live or not; `manifest` is the digest of its tree."""

    id: str
    deployment_id: str
    created_at: float
    manifest: str
    kept: bool


class Rollback(msgspec.Struct, frozen=True):
    """A pointer that was moved back; without `from_release_id` nothing was live before."""

    id: str
    project_id: str
    site: str
    target: str
    from_release_id: str | None
    to_release_id: str


class Switch(NamedTuple):
    """What became of the wish to go back to a release.

    Attributes:
        verdict: `switched`; `unchanged` where it is live already; or why not: `release_not_found`, `never_live`,
            `expired`, `no_target` (the place that serves it is not set up), `locked`.
        target: where the release is served, "" if there is none.
        rollback: what was recorded, with `switched`.
    """

    verdict: str
    target: str
    rollback: Rollback | None


class RollbackRow(msgspec.Struct, frozen=True):
    """Who moved a pointer back, when (seconds since 1970) and why.

    Attributes:
        settled: `confirmed`, `undone` (its probe failed, as `fault` says), `overtaken` (it failed, and
            somebody else had moved the pointer meanwhile), or None while the address is looked at.
    """

    id: str
    from_release_id: str | None
    to_release_id: str
    user_id: str
    reason: str
    began_at: float
    settled: str | None
    fault: str | None


class Lock(msgspec.Struct, frozen=True):
    """Nothing is put live for the project; `locked_at` in seconds since 1970."""

    locked_by: str
    reason: str
    locked_at: float


class Releases:
    """The tables `release`, `rollback` and `project_lock`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("releases")

    async def page(self, project_id: str, after: str | None, limit: int) -> list[ReleaseRow]:
        """Return releases newest first, those older than the release `after`; None: from the newest."""
        rows = self._sql.page(self._pool, project_id=project_id, after=after, limit=limit)
        return msgspec.convert([dict(row) async for row in rows], list[ReleaseRow])

    async def of_deployment(self, deployment_id: str) -> BuiltRow | None:
        """Return what a deployment has built, or None."""
        row = await self._sql.of_deployment(self._pool, deployment_id=deployment_id)
        return msgspec.convert(dict(row), BuiltRow) if row else None

    async def roll_back(
        self, *, id: str, project_id: str, release_id: str, user_id: str, reason: str, targets: list[str]
    ) -> Switch:
        """Move the project's pointer to a kept release that one of these targets serves."""
        row = await self._sql.roll_back(
            self._pool,
            id=id,
            project_id=project_id,
            release_id=release_id,
            user_id=user_id,
            reason=reason,
            targets=targets,
        )
        switched = row["verdict"] == "switched"
        return Switch(row["verdict"], row["served_by"], msgspec.convert(dict(row), Rollback) if switched else None)

    async def settle(self, rollback_id: str, fault: str | None) -> str:
        """Confirm a rollback that was seen live, or with a fault put the pointer back; as `RollbackRow.settled`."""
        return str(await self._sql.settle_rollback(self._pool, id=rollback_id, fault=fault))

    async def unsettled(self, older_than: float) -> list[Rollback]:
        """Return rollbacks of at least that many seconds ago that nobody has settled."""
        rows = self._sql.unsettled(self._pool, older_than=older_than)
        return msgspec.convert([dict(row) async for row in rows], list[Rollback])

    async def rollbacks(self, project_id: str, after: str | None, limit: int) -> list[RollbackRow]:
        """Return rollbacks newest first, those before the rollback `after`; None: from the newest."""
        rows = self._sql.rollbacks(self._pool, project_id=project_id, after=after, limit=limit)
        return msgspec.convert([dict(row) async for row in rows], list[RollbackRow])

    async def pin(self, project_id: str, release_id: str, *, pinned: bool) -> str:
        """Keep a release for ever, or no longer; answers `done`, `release_not_found` or `expired`."""
        return str(await self._sql.pin(self._pool, project_id=project_id, release_id=release_id, pinned=pinned))

    async def lock(self, project_id: str, locked_by: str, reason: str) -> Lock:
        """Let nothing be put live for a project; again, it changes who and why."""
        row = await self._sql.lock(self._pool, project_id=project_id, locked_by=locked_by, reason=reason)
        return msgspec.convert(dict(row), Lock)

    async def unlock(self, project_id: str) -> None:
        """Take the lock away; fine if there is none."""
        await self._sql.unlock(self._pool, project_id=project_id)

    async def find_lock(self, project_id: str) -> Lock | None:
        """Return the project's lock, or None."""
        row = await self._sql.find_lock(self._pool, project_id=project_id)
        return msgspec.convert(dict(row), Lock) if row else None
