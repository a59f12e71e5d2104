"""Looks at the table while everything breaks: what was once decided must never be seen otherwise."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import msgspec

from shared.adapters.postgres.database import DATABASE_FAILED
from shared.lifecycle import COLUMNS, violations

_LOOK_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
_SETTLED_SECONDS = 3.0
"""Admission and the release of a slot do not wait for the disk: a killed database may lose younger ones."""
_MOMENTS = ("admitted_at", "ended_at", "freed_at")

_OPEN = """
select d.id from deployment d left join deployment_progress p on p.deployment_id = d.id
where d.freed_at is null or not coalesce(p.finished, false)
"""

Row = dict[str, Any]


@dataclass(slots=True)
class Watch:
    """What was seen.

    Attributes:
        seen: the last settled look at each deployment.
        broken: what could not have come about by the book.
        over_at: when each deployment was first seen over and shown so, seconds since 1970.
    """

    postgres_url: str
    seen: dict[str, Row] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    over_at: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Look every second until cancelled; an outage of the database is waited out."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> bool:
        """Look once; return whether everything that was accepted is over. False when the database is away."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                connection = await asyncpg.connect(self.postgres_url)
                try:
                    records = await connection.fetch(f"select {', '.join(COLUMNS)}, now() as looked_at from deployment")
                    still_open = {record["id"] for record in await connection.fetch(_OPEN)}
                finally:
                    await connection.close()
        except (*DATABASE_FAILED, TimeoutError):
            return False
        self._compare([_row(record) for record in records])
        now = time.time()
        for record in records:
            if record["id"] not in still_open:
                self.over_at.setdefault(record["id"], now)
        return not still_open

    def _compare(self, rows: list[Row]) -> None:
        self.broken |= set(violations(self.seen.values(), rows))
        self.seen |= {row["id"]: row for row in rows if _is_settled(row)}


def _row(record: asyncpg.Record) -> Row:
    row = dict(record)
    if row["failure"] is not None:
        row["failure"] = msgspec.json.decode(row["failure"])
    return row


def _is_settled(row: Row) -> bool:
    moments = (row[name] for name in _MOMENTS if row[name] is not None)
    return all((row["looked_at"] - moment).total_seconds() > _SETTLED_SECONDS for moment in moments)
