"""Everything the audit looks at, read once when the run is over, from the servers themselves."""

from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec

from services.cli.benches.chaos.stack import Stack
from shared.adapters.jetstream.bus import Bus, decode_chunk, decode_event
from shared.adapters.postgres.database import open_pool
from shared.contracts.events import Event
from shared.contracts.messages import DeadLetter, LogChunk
from shared.contracts.subjects import (
    ALL_DEAD_LETTERS,
    ALL_EVENTS,
    ALL_LOGS,
    EVENT_STREAM,
    LOG_STREAM,
)

_DEPLOYMENTS = """
select d.*, p.finished as shown_finished, p.outcome as shown_outcome,
  r.id as release, (select count(*) from release x where x.deployment_id = d.id) as releases
from deployment d
left join deployment_progress p on p.deployment_id = d.id
left join release r on r.deployment_id = d.id
order by d.accepted_at, d.id
"""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true at the end.

    Attributes:
        deployments: rows of the table with their projection and release, oldest first.
        events: the journal by deployment, in order.
        chunks: the log stream by deployment, in order.
        repairs: how often each repair had something to mend.
        queued: subjects of what is left in the queue stream.
        unacknowledged: by consumer of the queue, deliveries that nobody has answered.
        unarchived: ended deployments that the log archiver has not dealt with.
    """

    deployments: list[Row]
    sites: list[Row]
    ledger: list[Row]
    plans: list[Row]
    repairs: dict[str, int]
    events: dict[str, list[Event]]
    chunks: dict[str, list[LogChunk]]
    letters: list[DeadLetter]
    queued: list[str]
    unacknowledged: dict[str, int]
    unarchived: int


async def read_facts(stack: Stack) -> Facts:
    """Read everything; the servers must be up and nothing may run any more."""
    pool = await open_pool(stack.settings.postgres_url, size=2)
    bus = await Bus.connect(stack.settings, "chaos")
    try:
        queue = stack.settings.deployment_queue_name
        letters = await bus.history(stack.settings.deployment_dlq_name, ALL_DEAD_LETTERS)
        consumers = await bus.jetstream.consumers_info(queue)
        archiver = await bus.jetstream.consumer_info(EVENT_STREAM, "log-archiver")
        return Facts(
            deployments=await _rows(pool, _DEPLOYMENTS),
            sites=await _rows(pool, "select * from site"),
            ledger=await _rows(pool, "select * from quota_ledger"),
            plans=await _rows(pool, "select * from subscription_limit"),
            repairs={row["name"]: row["repaired"] for row in await _rows(pool, "select * from repair order by name")},
            events=_by_deployment([decode_event(m.data) for m in await bus.history(EVENT_STREAM, ALL_EVENTS)]),
            chunks=_by_deployment([decode_chunk(m.data) for m in await bus.history(LOG_STREAM, ALL_LOGS)]),
            letters=[msgspec.json.decode(m.data, type=DeadLetter) for m in letters],
            queued=[m.subject for m in await bus.history(queue, "deployment.queue.>")],
            unacknowledged={info.name: info.num_ack_pending or 0 for info in consumers},
            unarchived=(archiver.num_pending or 0) + (archiver.num_ack_pending or 0),
        )
    finally:
        await bus.close()
        await pool.close()


async def _rows(pool: asyncpg.Pool, query: str) -> list[Row]:
    return [dict(row) for row in await pool.fetch(query)]


def _by_deployment(found: list[Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for one in found:
        grouped.setdefault(one.deployment_id, []).append(one)
    return grouped
