"""Who did what."""

import itertools
import secrets
from collections.abc import Sequence

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries

_PROCESS = secrets.token_hex(4)
_COUNTER = itertools.count()


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One authenticated request that was to change something.

    Attributes:
        id: ascends with time; see `entry_id`.
        at: when it was answered, seconds since 1970.
        organization_id: whose things it was about, None where that is nobody's.
        actor: an API key's id, or `jwt:<user>`, `session:<user>`.
        user_id: the user the actor acts as.
        action: method and route, such as `POST /deploy/{deployment_id}/cancel`.
        subjects: the ids it was about: name → id.
        status: HTTP status of the answer.
        request_id: finds it in the service's log.
    """

    id: str
    at: float
    organization_id: str | None
    actor: str
    user_id: str
    action: str
    subjects: dict[str, str]
    status: int
    request_id: str


def entry_id(at: float) -> str:
    """Return a new id that sorts by time, and within this process by order."""
    return f"aud_{round(at * 1000):012x}{next(_COUNTER) & 0xFFFFFF:06x}{_PROCESS}"


class Audit:
    """The table `audit`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("audit")

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        """Write entries; one that was written already stays as it is."""
        await self._sql.record(self._pool, entries=msgspec.to_builtins(entries))

    async def page(
        self, organization_id: str | None, actor: str | None, action: str | None, before: str | None, limit: int
    ) -> list[AuditEntry]:
        """Return entries newest first, those older than the entry `before`; None: of everyone.

        Args:
            organization_id: whose things they were about.
            actor: who acted.
            action: what the action begins with.
            before: id of an entry.
            limit: how many at most.
        """
        rows = self._sql.page(
            self._pool, organization_id=organization_id, actor=actor, action=action, before=before, limit=limit
        )
        return msgspec.convert([dict(row) async for row in rows], list[AuditEntry])

    async def remove_old(self, kept_seconds: float, limit: int) -> int:
        """Remove up to `limit` entries that are older; return how many."""
        return int(await self._sql.remove_old(self._pool, kept_seconds=kept_seconds, limit=limit))
