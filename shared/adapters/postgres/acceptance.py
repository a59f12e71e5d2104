"""Recording deployments; those ordered in the same moment share one transaction and its one wait for the disk."""

import asyncio
from collections.abc import Sequence

import asyncpg
import msgspec

from shared.adapters.postgres.database import CONNECTION_LOST, load_queries
from shared.contracts.errors import Failure
from shared.source_origin import SourceTree

MOST_AT_ONCE = 32
"""Orders in one transaction."""
_TRANSACTIONS = 2
"""How many run at the same time; what is ordered meanwhile is gathered."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment to be recorded.

    Attributes:
        target: None for the project's own.
        snapshot_id: the tree to deploy; None for the project's latest.
        tree: what is deployed instead of a snapshot, and becomes one.
        templates: types of template that the caller can make a tree of.
        timeout_seconds: from admission to the deadline, if it is to be shorter than the service's.
        retry_of: deploy that one's frozen snapshot again, with what else was asked for then.
        superseding: the failure with which the project's present deployment is cancelled instead of refusing.
        key: what the request named itself, so that sending it twice is harmless.
        body_digest: hex, what it asked for.
        max_waiting: so many deployments of one organisation may wait.
        rate_limit: so many deployments of one user and project are accepted in `rate_window_seconds`; None for any.
    """

    id: str
    project_id: str
    organization_id: str
    user_id: str
    max_waiting: int
    priority: int = 5
    target: str | None = None
    snapshot_id: str | None = None
    tree: SourceTree | None = None
    templates: Sequence[str] = ()
    traceparent: str = ""
    timeout_seconds: float | None = None
    debug: bool = False
    retry_of: str | None = None
    superseding: Failure | None = None
    key: str | None = None
    body_digest: str | None = None
    rate_limit: int | None = None
    rate_window_seconds: int | None = None

    @property
    def takes_other_locks(self) -> bool:
        """Whether deciding it locks more than its project and its organisation's plans."""
        return any(given is not None for given in (self.key, self.retry_of, self.superseding))


class Verdict(msgspec.Struct, frozen=True):
    """The answer to an order: `accepted`, or why not.

    Attributes:
        verdict: accepted, repeated, key_reused, not_found, inactive, locked, in_progress,
            snapshot_not_found, from_project, expired, quota_exceeded, rate_limited or queue_full.
        deployment_id: with accepted and repeated, the deployment that was recorded, now or by the first request.
        accepted_at: when it was, seconds since 1970.
        superseded_id: with accepted, the deployment that was cancelled for this one, to be called off.
        active_id: with in_progress, the deployment that holds the claim.
        active_state: with in_progress, `preparing` or `deploying`.
        retry_after: with rate_limited, seconds to wait.
    """

    verdict: str
    deployment_id: str | None
    accepted_at: float | None
    superseded_id: str | None
    active_id: str | None
    active_state: str | None
    retry_after: int | None


class Acceptance:
    """Decides orders: at once when there is nobody else, else together with those that come meanwhile."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("deployments")
        self._turns = asyncio.Semaphore(_TRANSACTIONS)
        self._gathering: tuple[list[Order], asyncio.Task[list[Verdict]]] | None = None

    async def accept(self, order: Order) -> Verdict:
        """Record a deployment, or say why not; the same `id` twice changes nothing."""
        return await (self._decide_alone(order) if order.takes_other_locks else self._decide_together(order))

    async def _decide_alone(self, order: Order) -> Verdict:
        return (await self._decide([order]))[0]

    async def _decide_together(self, order: Order) -> Verdict:
        """Join the orders that wait for their turn; where the database refuses them together, ask about each alone."""
        if self._gathering is None:
            gathered: list[Order] = []
            self._gathering = gathered, asyncio.create_task(self._decide_in_turn(gathered))
        orders, deciding = self._gathering
        place = len(orders)
        orders.append(order)
        if len(orders) == MOST_AT_ONCE:
            self._gathering = None
        try:
            return (await asyncio.shield(deciding))[place]
        except asyncpg.PostgresError as error:
            if len(orders) == 1 or isinstance(error, CONNECTION_LOST):
                raise
            return await self._decide_alone(order)

    async def _decide_in_turn(self, orders: list[Order]) -> list[Verdict]:
        async with self._turns:
            if self._gathering and self._gathering[0] is orders:
                self._gathering = None
            return await self._decide(orders)

    async def _decide(self, orders: list[Order]) -> list[Verdict]:
        rows = self._sql.accept(self._pool, orders=orders)
        return msgspec.convert([dict(row) async for row in rows], list[Verdict])
