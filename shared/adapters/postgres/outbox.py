"""What the webhook sender does with deliveries: take what is due, record what became of it."""

from datetime import datetime

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries


class DueDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that is leased to this sender.

    Attributes:
        secrets: sealed; sign with each, the present one first.
        tries: with the one that is due now.
        failures: of its webhook, since the last try that succeeded.
        failing_since: seconds since 1970, of the first of them.
        leased_until: tells this lease from later ones.
    """

    id: str
    webhook_id: str
    url: str
    secrets: list[str]
    event: str
    payload: str
    tries: int
    failures: int
    failing_since: float | None
    leased_until: datetime


class Outbox:
    """The deliveries that are to be sent."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("webhooks")

    async def claim(self, limit: int, *, limit_of_one: int, failing: int, lease_seconds: float) -> list[DueDelivery]:
        """Lease up to `limit` deliveries that are due, webhooks taking turns.

        Args:
            limit: how many at most.
            limit_of_one: how many to one webhook may be on their way, over all senders.
            failing: after so many failed tries in a row a webhook has one on its way at a time.
            lease_seconds: after that another sender may take them.
        """
        rows = self._sql.claim(
            self._pool, limit=limit, limit_of_one=limit_of_one, failing=failing, lease_seconds=lease_seconds
        )
        return msgspec.convert([dict(row) async for row in rows], list[DueDelivery])

    async def succeeded(self, delivery: DueDelivery, answer: int) -> None:
        """Record that the endpoint took it, with this HTTP status."""
        await self._sql.succeeded(self._pool, id=delivery.id, answer=answer)

    async def failed(
        self,
        delivery: DueDelivery,
        *,
        answer: int | None,
        fault: str,
        retry_seconds: float | None,
        pause_seconds: float,
        disabled_reason: str | None,
    ) -> None:
        """Record that a try failed, unless the lease has passed to another sender.

        Args:
            delivery: what was tried.
            answer: HTTP status, None when there was no answer.
            fault: what was wrong, for people.
            retry_seconds: when to try again; None: never.
            pause_seconds: how long nothing is sent to the webhook.
            disabled_reason: switches the webhook off.
        """
        await self._sql.failed(
            self._pool,
            id=delivery.id,
            leased_until=delivery.leased_until,
            answer=answer,
            fault=fault,
            retry_seconds=retry_seconds,
            pause_seconds=pause_seconds,
            disabled_reason=disabled_reason,
        )

    async def remove_old(self, kept_seconds: float, limit: int) -> int:
        """Remove up to `limit` deliveries that are older; return how many."""
        return int(await self._sql.remove_old(self._pool, kept_seconds=kept_seconds, limit=limit))
