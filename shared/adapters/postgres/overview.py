"""What the deployments look like together: how many wait and run, how long they take."""

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries


class Waiting(msgspec.Struct, frozen=True, rename="camel"):
    """Deployments of one organisation that wait for admission."""

    organization_id: str
    waiting: int
    oldest_age_seconds: float
    running: int


class Pause(msgspec.Struct, frozen=True):
    """Admission is stopped for one organisation, or with None for everyone; `paused_at` in seconds since 1970."""

    organization_id: str | None
    paused_by: str
    paused_at: float


class Repair(msgspec.Struct, frozen=True):
    """What one of the reconciler's repairs has mended so far; `last_at` in seconds since 1970."""

    name: str
    repaired: int
    last_at: float


class Total(msgspec.Struct, frozen=True):
    """How many deployments stand at one place; without a stage nothing has happened to them yet."""

    stage: str | None
    finished: bool
    outcome: str | None
    count: int


class Ended(msgspec.Struct, frozen=True):
    """How many deployments ended in one way in the last hour and in the last day."""

    outcome: str
    hour: int
    day: int


class StepTime(msgspec.Struct, frozen=True):
    """How long a step took in a window (`hour` or `day`), in milliseconds: the median and the 95th percentile."""

    step: str
    window: str
    count: int
    p50: float
    p95: float


class Overview:
    """Reads over all deployments, and the switch that stops their admission."""

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

    async def pauses(self, organization_id: str | None) -> list[Pause]:
        """Return for whom admission is stopped; with an organisation only what stops that one."""
        rows = self._sql.pauses(self._pool, organization_id=organization_id)
        return [Pause(**row) async for row in rows]

    async def pause(self, organization_id: str | None, paused_by: str) -> None:
        """Stop admission for an organisation, with None for everyone; who did it first stays recorded."""
        await self._sql.pause(self._pool, organization_id=organization_id, paused_by=paused_by)

    async def resume(self, organization_id: str | None) -> None:
        """Take back the pause of an organisation, or with None that of everyone; the others stay."""
        await self._sql.resume(self._pool, organization_id=organization_id)

    async def repairs(self) -> list[Repair]:
        """Return what the reconciler has mended."""
        return [Repair(**row) async for row in self._sql.repairs(self._pool)]

    async def removals(self) -> dict[str, int]:
        """Return how many rows were removed because they were old, by kind."""
        return {row["name"]: row["removed"] async for row in self._sql.removals(self._pool)}

    async def projected(self) -> int:
        """Return the journal's sequence up to which the status is projected; 0 before the projector's first start."""
        return int(await self._sql.projected(self._pool))

    async def totals(self, organization_id: str | None) -> list[Total]:
        """Return how many deployments there are, by where they stand: of one organisation, or with None of all."""
        return [Total(**row) async for row in self._sql.totals(self._pool, organization_id=organization_id)]

    async def ended(self, organization_id: str | None) -> list[Ended]:
        """Return how the deployments of the last day ended."""
        return [Ended(**row) async for row in self._sql.ended(self._pool, organization_id=organization_id)]

    async def step_times(self, organization_id: str | None) -> list[StepTime]:
        """Return how long the steps of the last day's deployments took."""
        return [StepTime(**row) async for row in self._sql.step_times(self._pool, organization_id=organization_id)]

    async def running_of(self, organization_id: str | None) -> int:
        """Return how many deployments hold a slot, of one organisation or of all."""
        return int(await self._sql.running_of(self._pool, organization_id=organization_id))
