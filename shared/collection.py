"""Collection: what has expired is no longer kept, and blobs that nothing refers to any more are removed.

First rows say what is still kept, then the object store is gone through. A blob stays when a kept tree names it, when
it is younger than the grace period, or when it was uploaded so lately that its tree may be on its way. What is new
since the beginning is looked at again while blobs are removed, a few at a time; `barrier.py` tells why none of them
can be missed.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
import msgspec

from shared.adapters.postgres.barrier import only_collection, removing_blobs
from shared.adapters.postgres.retention import Expired, Retention
from shared.blobs import key_of
from shared.ports import Manifest, Objects, Stat
from shared.settings import Settings

BLOBS = "blobs/"
BUILDS = "builds/"
LOG_FOLDERS = ("logs/", "errors/")
"""Folders of a deployment's own: its log, and the full text of its errors."""
_AT_ONCE = 200
"""Blobs removed in one go, while whoever makes a release waits."""
_PARALLEL = 16
_DAY = 86_400.0

_T = TypeVar("_T")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept.

    Attributes:
        older_than_days: a deployment that ended earlier expires, unless its release is kept.
        keep_releases: releases of a project that are kept however old they are.
        earlier_seconds: for how long a replaced release is kept for pages loaded before.
        grace_seconds: for how long a blob that nothing refers to is left alone.
        organization_id: whose deployments may expire; None: those of all. Blobs that nothing refers to are nobody's.
    """

    older_than_days: float
    keep_releases: int
    earlier_seconds: float
    grace_seconds: float
    organization_id: str | None = None


def rules_of(settings: Settings) -> Rules:
    """Return what the settings say is kept."""
    return Rules(
        older_than_days=settings.retention_days,
        keep_releases=settings.retention_releases,
        earlier_seconds=settings.earlier_assets_seconds,
        grace_seconds=settings.blob_grace,
    )


class Removed(msgspec.Struct, kw_only=True, rename="camel"):
    """How much of what was removed, or would have been.

    Attributes:
        builds: remembered results of builds.
        uploads: notes of who had uploaded a blob.
    """

    deployments: int = 0
    releases: int = 0
    snapshots: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    logs: int = 0
    log_bytes: int = 0
    builds: int = 0
    uploads: int = 0


@dataclass(frozen=True, slots=True)
class Collector:
    """Removes what is not kept from the two buckets."""

    pool: asyncpg.Pool
    artifacts: Objects
    logs: Objects

    async def collect(self, rules: Rules, *, dry_run: bool = False) -> Removed:
        """Remove what is not kept; a dry run only counts it. Stopped in the middle, the next one goes on.

        Raises:
            ZepidError: CLEANUP_RUNNING; SERVICE_UNAVAILABLE where blobs are in use without a pause; what the
                buckets raise.
        """
        async with only_collection(self.pool) as connection:
            return await _Collection(connection, self.artifacts, rules, dry_run=dry_run).run(self.logs)


class _Collection:
    """One run."""

    def __init__(
        self, connection: asyncpg.pool.PoolConnectionProxy, artifacts: Objects, rules: Rules, *, dry_run: bool
    ) -> None:
        self._retention = Retention(connection)
        self._connection = connection
        self._artifacts = artifacts
        self._rules = rules
        self._dry_run = dry_run
        self._began = time.time()
        self._manifests: set[str] = set()
        self._lost: set[str] = set()
        self._kept: set[str] = set()
        self._removed = Removed()

    async def run(self, logs: Objects) -> Removed:
        expired = await self._expire()
        await self._keep(expired.manifests)
        await self._forget_builds()
        async for some in _batches(self._unreferenced()):
            await self._remove_blobs(some)
        await self._remove_logs(logs, set(expired.deployments))
        return self._removed

    async def _expire(self) -> Expired:
        rules = self._rules
        self._since = await self._retention.a_while_ago()
        async with removing_blobs(self._connection):
            expired = await self._retention.expire(
                rules.organization_id,
                rules.older_than_days * _DAY,
                rules.keep_releases,
                rules.earlier_seconds,
                dry_run=self._dry_run,
            )
        self._removed.deployments = len(expired.deployments)
        self._removed.releases = expired.releases
        self._removed.snapshots = expired.snapshots
        return expired

    async def _keep(self, manifests: set[str]) -> None:
        """Note the blobs of trees that were not known yet, their manifests among them.

        A tree whose manifest is lost is looked for again each time: its deployment may be making it anew.
        """
        new = list((manifests | self._lost) - self._manifests)
        for start in range(0, len(new), _PARALLEL):
            some = new[start : start + _PARALLEL]
            for digest, found in zip(some, await asyncio.gather(*map(self._blobs_of, some)), strict=True):
                self._kept.update(found)
                (self._manifests if found else self._lost).add(digest)

    async def _blobs_of(self, digest: str) -> list[str]:
        data = await self._artifacts.get(key_of(digest))
        return [digest, *msgspec.json.decode(data, type=Manifest).digests] if data is not None else []

    async def _forget_builds(self) -> None:
        """Forget what builds came to where that is not kept, so that no new deployment takes it up."""
        async for found in self._old(BUILDS):
            artifact = await self._artifacts.get(found.key)
            if artifact is not None and artifact.decode() not in self._manifests:
                self._removed.builds += 1
                if not self._dry_run:
                    await self._artifacts.delete(found.key)

    async def _unreferenced(self) -> AsyncIterator[Stat]:
        async for found in self._old(BLOBS):
            if _digest_in(found) not in self._kept:
                yield found

    async def _old(self, prefix: str) -> AsyncIterator[Stat]:
        async for found in self._artifacts.stats(prefix):
            if found.written_at <= self._began - self._rules.grace_seconds:
                yield found

    async def _remove_blobs(self, some: list[Stat]) -> None:
        if self._dry_run:
            doomed = await self._doomed(some)
        else:
            async with removing_blobs(self._connection):
                await self._keep(await self._retention.manifests(self._since))
                doomed = await self._doomed(some)
                self._removed.uploads += await self._retention.forget_uploads(map(_digest_in, doomed))
                await _delete(self._artifacts, doomed)
        self._removed.blobs += len(doomed)
        self._removed.blob_bytes += sum(found.size for found in doomed)

    async def _doomed(self, some: list[Stat]) -> list[Stat]:
        spared = await self._retention.in_upload(map(_digest_in, some), self._rules.grace_seconds)
        spared |= self._kept.intersection(map(_digest_in, some))
        return [found for found in some if _digest_in(found) not in spared]

    async def _remove_logs(self, logs: Objects, expired: set[str]) -> None:
        for folder in LOG_FOLDERS:
            async for some in _batches(logs.stats(folder)):
                await self._remove_expired(logs, some, expired)

    async def _remove_expired(self, logs: Objects, some: list[Stat], expired: set[str]) -> None:
        owners = {found.key.split("/")[1] for found in some}
        gone = expired | await self._retention.expired_among(owners)
        doomed = [found for found in some if found.key.split("/")[1] in gone]
        if not self._dry_run:
            await _delete(logs, doomed)
        self._removed.logs += len(doomed)
        self._removed.log_bytes += sum(found.size for found in doomed)


async def _batches(items: AsyncIterator[_T]) -> AsyncIterator[list[_T]]:
    some: list[_T] = []
    async for item in items:
        some.append(item)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


async def _delete(objects: Objects, doomed: list[Stat]) -> None:
    for start in range(0, len(doomed), _PARALLEL):
        await asyncio.gather(*(objects.delete(found.key) for found in doomed[start : start + _PARALLEL]))


def _digest_in(found: Stat) -> str:
    return found.key.removeprefix(BLOBS)
