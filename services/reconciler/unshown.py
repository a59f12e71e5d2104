"""Says again in the journal what the table says, where the events that people are shown were lost."""

import time

from shared.adapters.jetstream.bus import Bus
from shared.adapters.postgres.deployments import UnfinishedRow
from shared.adapters.postgres.projections import Projections
from shared.conclusion import ended_event
from shared.contracts.events import Succeeded
from shared.contracts.subjects import EVENT_STREAM
from shared.pipeline import CLEANUP
from shared.resources import Resources

QUIET_SECONDS = 30.0
_AGAIN = "again"


async def show_over(resources: Resources) -> list[str]:
    """Repeat the last events of deployments that are over but not shown so; return their ids.

    A projector that is merely behind is left to catch up.
    """
    if await _is_behind(resources):
        return []
    rows = await resources.deployments.unshown(QUIET_SECONDS)
    for row in rows:
        await _say_again(resources.bus, row)
    return [row.id for row in rows]


async def _is_behind(resources: Resources) -> bool:
    last = (await resources.bus.jetstream.stream_info(EVENT_STREAM)).state.last_seq
    async with resources.pool.acquire() as connection:
        position = await Projections(connection).position()
    return position is None or position.sequence < last


async def _say_again(bus: Bus, row: UnfinishedRow) -> None:
    """Both events, also of a row that says it was never admitted: a database that crashed may have forgotten it."""
    moment = f"{_AGAIN}.{time.time():.0f}"
    await bus.record(ended_event("reconciler", row), row.traceparent, moment)
    now = time.time()
    cleaned = Succeeded(deployment_id=row.id, actor=CLEANUP.name, at=now, attempt=0, started_at=now)
    await bus.record(cleaned, row.traceparent, moment)
