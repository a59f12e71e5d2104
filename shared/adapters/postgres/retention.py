"""What the collection asks and changes in the database, on the one connection that holds its locks."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from shared.adapters.postgres.database import load_queries


class Expired(NamedTuple):
    """What is no longer kept since a moment ago, and the digests of the trees that still are."""

    deployments: list[str]
    releases: int
    snapshots: int
    manifests: set[str]


class Retention:
    """The rows that say what is kept. Times are in seconds."""

    def __init__(self, connection: PoolConnectionProxy) -> None:
        self._connection = connection
        self._sql = load_queries("retention")

    async def expire(
        self, organization_id: str | None, older_than: float, keep_releases: int, earlier: float, *, dry_run: bool
    ) -> Expired:
        """Let deployments expire and forget snapshots, of one organisation or of all; a dry run only says which."""
        transaction = self._connection.transaction()
        await transaction.start()
        try:
            rows = self._sql.expire(
                self._connection,
                organization_id=organization_id,
                older_than=older_than,
                keep_releases=keep_releases,
                earlier=earlier,
            )
            deployments = {row["id"]: row["released"] async for row in rows}
            snapshots = await self._sql.forget_snapshots(
                self._connection, organization_id=organization_id, older_than=older_than
            )
            manifests = await self.manifests(None)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if dry_run else transaction.commit())
        return Expired(list(deployments), sum(deployments.values()), snapshots, manifests)

    async def a_while_ago(self) -> datetime:
        """Return a moment before which nothing was begun that is not visible yet."""
        moment: datetime = await self._sql.a_while_ago(self._connection)
        return moment

    async def manifests(self, since: datetime | None) -> set[str]:
        """Return the trees that something refers to; with a moment, those referred to since then at least."""
        return {row["manifest"] async for row in self._sql.manifests(self._connection, since=since)}

    async def in_upload(self, digests: Iterable[str], grace: float) -> set[str]:
        """Return those blobs that were uploaded so lately that their tree may be on its way."""
        rows = self._sql.in_upload(self._connection, digests=list(digests), grace=grace)
        return {row["digest"] async for row in rows}

    async def forget_uploads(self, digests: Iterable[str]) -> int:
        """Let these blobs be missing for every organisation; return how many rows that was."""
        return int(await self._sql.forget_uploads(self._connection, digests=list(digests)))

    async def expired_among(self, deployment_ids: Iterable[str]) -> set[str]:
        """Return those of the deployments that have expired."""
        rows = self._sql.expired_among(self._connection, ids=list(deployment_ids))
        return {row["id"] async for row in rows}


async def claim_run(pool: asyncpg.Pool, interval: float) -> bool:
    """Whether a cleanup is due: nobody has begun one for so many seconds. Whoever is told so does it."""
    return bool(await load_queries("retention").claim_run(pool, interval=interval))


async def count_removed(pool: asyncpg.Pool, name: str, count: int) -> None:
    """Add to how many rows of a kind were removed because they were old."""
    await load_queries("retention").count_removed(pool, name=name, count=count)
