"""What an organisation's plans still allow."""

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries


class PlanQuota(msgspec.Struct, frozen=True):
    """A plan as the next acceptance would find it; moments in seconds since 1970.

    Attributes:
        usable: whether it is active and has not expired.
        remaining: deployments that it still allows.
        reserved: units held by deployments that have not ended.
        used: units of deployments that went live, or that their author broke, since `since`.
        refreshes_at: when a yearly plan has its allotment again; None for the others.
    """

    plan_id: str
    plan_name: str
    billing_interval: str
    usable: bool
    remaining: int
    reserved: int
    used: int
    since: float
    refreshes_at: float | None
    period_end: float


class Quota:
    """Reads of `subscription_limit` and `quota_ledger`; acceptance and outcome write them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("quota")

    async def of(self, organization_id: str) -> list[PlanQuota]:
        """Return the organisation's plans in the order in which they are used; without any it is not metered."""
        rows = self._sql.of(self._pool, organization_id=organization_id)
        return [PlanQuota(**row) async for row in rows]
