"""The deployment's row: who changes it, and what each is allowed to see."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from shared.adapters.postgres.acceptance import Acceptance, Order, Verdict
from shared.adapters.postgres.barrier import keeping_blobs
from shared.adapters.postgres.database import load_queries
from shared.contracts.errors import Failure, ZepidError
from shared.ports import DeploymentRecord, Manifest
from shared.sealing import Seal
from shared.source_origin import SourceTree

_KEYLESS = Seal()


class AdmittedRow(msgspec.Struct, frozen=True):
    """A deployment that was given a slot; `deadline` in seconds since 1970."""

    id: str
    project_id: str
    organization_id: str
    source: str
    target: str
    debug: bool
    traceparent: str
    deadline: float


class EndedRow(msgspec.Struct, frozen=True):
    """A deployment with its outcome, None while there is none."""

    id: str
    project_id: str
    organization_id: str
    source: str
    target: str
    debug: bool
    traceparent: str
    outcome: str | None
    failure: Failure | None
    url: str
    release: str
    admitted: bool
    deadline: float | None


class Decision(EndedRow, frozen=True):
    """How a deployment ended; `decided` tells whether this call made it so."""

    decided: bool


class Origin(msgspec.Struct, frozen=True):
    """For whom a deployment was made, its outcome, and the project's latest completed one if that is newer."""

    id: str
    project_id: str
    organization_id: str
    user_id: str
    outcome: str | None
    newer: str | None


class OverdueRow(msgspec.Struct, frozen=True):
    """A deployment without an outcome that ran, or waited (not `admitted`), for too long; `stage` is its step."""

    id: str
    admitted: bool
    stage: str


class UnfinishedRow(EndedRow, frozen=True):
    """A deployment in the pipeline; `quiet_seconds` since it was admitted or ended."""

    quiet_seconds: float


class Deployments:
    """The guarded transitions and reads of the table `deployment`."""

    def __init__(self, pool: asyncpg.Pool, seal: Seal = _KEYLESS) -> None:
        self._pool = pool
        self._seal = seal
        self._sql = load_queries("deployments")
        self._acceptance = Acceptance(pool)

    async def accept(self, order: Order) -> Verdict:
        """Record a deployment and take its project's claim, or say why not; the same `id` twice changes nothing."""
        return await self._acceptance.accept(order)

    async def forget_keys(self) -> None:
        """Remove the idempotency keys that are no longer believed."""
        await self._sql.forget_keys(self._pool)

    async def admit(self, max_running: int, max_running_of_one: int, deadline_seconds: float) -> list[AdmittedRow]:
        """Give free slots to waiting deployments, fairly between organisations, and stamp their deadlines.

        Args:
            max_running: slots over all organisations.
            max_running_of_one: slots one organisation may hold.
            deadline_seconds: how long an admitted deployment may take.
        """
        rows = self._sql.admit(
            self._pool,
            max_running=max_running,
            max_running_of_one=max_running_of_one,
            deadline_seconds=deadline_seconds,
        )
        return msgspec.convert([dict(row) async for row in rows], list[AdmittedRow])

    async def end(
        self, deployment_id: str, outcome: str, failure: Failure | None = None, url: str = "", release: str = ""
    ) -> Decision:
        """Decide the outcome, once; whatever was decided before stays.

        Raises:
            ZepidError: NOT_FOUND, there is no such deployment.
        """
        row = await self._sql.end_deployment(
            self._pool, id=deployment_id, outcome=outcome, failure=failure, url=url, release_id=release
        )
        if row["id"] is None:
            raise ZepidError("NOT_FOUND", f"deployment {deployment_id} is not recorded")
        return msgspec.convert(dict(row), Decision)

    async def freeze_source(self, deployment_id: str, tree: SourceTree) -> str:
        """Record what was fetched for a deployment, once; return the digest of the manifest that counts."""
        return str(await self._sql.freeze_source(self._pool, id=deployment_id, tree=tree))

    async def free(self, deployment_id: str) -> None:
        """Give back the claim and the slot of a deployment that has ended."""
        await self._sql.free(self._pool, id=deployment_id)

    async def deployment(self, deployment_id: str) -> DeploymentRecord | None:
        """Return what a step may know of the deployment, or None."""
        row = await self._sql.find(self._pool, id=deployment_id)
        return msgspec.convert(dict(row), DeploymentRecord) if row else None

    async def origins(self, deployment_ids: list[str]) -> dict[str, Origin]:
        """Return, by id, for whom those deployments were made that are recorded."""
        rows = self._sql.origins(self._pool, ids=deployment_ids)
        return {row["id"]: msgspec.convert(dict(row), Origin) async for row in rows}

    async def build_variables(self, deployment_id: str) -> dict[str, str]:
        """Return the environment variables frozen for this deployment's build.

        Raises:
            ZepidError: OUTCOME_ALREADY_DECIDED, it has ended; SECRET_UNREADABLE or
                ENCRYPTION_KEY_MISSING, this process can't decrypt them.
        """
        sealed = await self._sql.build_variables(self._pool, id=deployment_id)
        if sealed is None:
            raise ZepidError("OUTCOME_ALREADY_DECIDED", f"deployment {deployment_id} has ended: it needs no variables")
        return self._seal.open_each(sealed)

    async def insert_release(self, deployment_id: str, artifact: str, manifest: Manifest) -> str:
        """Insert the deployment's release once; return its id."""
        size, count = manifest.total_bytes, len(manifest.files)
        row = self._sql.insert_release(
            self._pool, id=deployment_id, manifest=artifact, file_count=count, total_bytes=size
        )
        return str(await row)

    def keeping_blobs(self) -> AbstractAsyncContextManager[object]:
        """Let no blob be removed for the length of a block."""
        return keeping_blobs(self._pool)

    async def point_to(self, deployment_id: str, release: str) -> str:
        """Flip the site's pointer; answers `pointed`, or why not: `ended`, `locked` or `overtaken`."""
        return str(await self._sql.point_site(self._pool, id=deployment_id, release_id=release))

    async def overdue(self, max_waiting_seconds: float) -> list[OverdueRow]:
        """Return deployments without an outcome past their deadline, or that waited for longer than allowed."""
        rows = self._sql.overdue(self._pool, max_waiting_seconds=max_waiting_seconds)
        return msgspec.convert([dict(row) async for row in rows], list[OverdueRow])

    async def unfinished(self) -> list[UnfinishedRow]:
        """Return every deployment in the pipeline."""
        return msgspec.convert([dict(row) async for row in self._sql.unfinished(self._pool)], list[UnfinishedRow])

    async def unshown(self, quiet_seconds: float) -> list[UnfinishedRow]:
        """Return deployments that were freed at least `quiet_seconds` ago and are not projected as finished."""
        rows = self._sql.unshown(self._pool, quiet_seconds=quiet_seconds)
        return msgspec.convert([dict(row) async for row in rows], list[UnfinishedRow])

    async def freed_among(self, deployment_ids: list[str]) -> list[str]:
        """Return those of the given deployments that are over, or were never recorded."""
        return [row["id"] async for row in self._sql.freed_among(self._pool, ids=deployment_ids)]

    async def count_repairs(self, name: str, count: int) -> None:
        """Add to how often a repair had something to mend."""
        await self._sql.count_repairs(self._pool, name=name, count=count)

    async def status(self, deployment_id: str) -> dict[str, Any] | None:
        """Return the deployment with its projection, columns as in `sql/deployments.sql`, or None."""
        row = await self._sql.status(self._pool, id=deployment_id)
        return dict(row) if row else None

    async def is_shown_over(self, deployment_id: str) -> bool:
        """Whether the projection says that nothing about the deployment will change."""
        return bool(await self._sql.is_shown_over(self._pool, id=deployment_id))

    async def recent(
        self,
        *,
        organization_id: str | None,
        project_id: str | None,
        shown: str | None,
        before: datetime | None,
        before_id: str | None,
        limit: int,
    ) -> list[dict[str, Any]]:
        """Return deployments newest first, older than (`before`, `before_id`).

        `shown` keeps those that are `pending`, at that step, or ended with that outcome.
        """
        rows = self._sql.recent(
            self._pool,
            organization_id=organization_id,
            project_id=project_id,
            shown=shown,
            before=before,
            before_id=before_id,
            limit=limit,
        )
        return [dict(row) async for row in rows]
