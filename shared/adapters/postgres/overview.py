"""What the deployments look like together: how many wait and run, how long they take."""

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries


class Waiting(msgspec.Struct, frozen=True, rename="camel"):
    """Deployments of one organisation that wait for admission."""

    organization_id: str
    waiting: int
    oldest_age_seconds: float


class Overview:
    """Reads over the table `deployment`; owns nothing."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("overview")

    async def ping(self) -> None:
        """Ask the database for an answer; raises one of DATABASE_AWAY or asyncpg.PostgresError."""
        await self._pool.fetchval("select 1")

    async def median_seconds(self) -> float | None:
        """Return how long recent deployments took from admission on; None when there were none."""
        median: float | None = await self._sql.median_seconds(self._pool)
        return median

    async def waiting(self, organization_id: str | None) -> list[Waiting]:
        """Return who waits for admission: one organisation, or with None all of them."""
        rows = self._sql.waiting(self._pool, organization_id=organization_id)
        return [Waiting(**row) async for row in rows]

    async def running(self) -> int:
        """Return how many deployments hold a slot."""
        return int(await self._sql.running(self._pool))
