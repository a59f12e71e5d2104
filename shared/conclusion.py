"""How a deployment ends: decided once in SQL, then announced; repeating either changes nothing."""

import time

from shared.adapters.jetstream.bus import Bus
from shared.adapters.postgres.deployments import Decision, Deployments, EndedRow
from shared.commands import cleanup_command
from shared.contracts.errors import Failure
from shared.contracts.events import Ended


async def conclude(
    deployments: Deployments,
    bus: Bus,
    actor: str,
    deployment_id: str,
    outcome: str,
    failure: Failure | None = None,
    url: str = "",
    release: str = "",
) -> Decision:
    """Decide the outcome unless it is decided, and announce what is true afterwards.

    `outcome` is `completed`, `failed` or `cancelled`; the subject of the event names `actor`, who
    decides. The decision returned may differ from the one asked for.
    """
    decision = await deployments.end(deployment_id, outcome, failure, url, release)
    await announce(bus, actor, decision)
    return decision


async def announce(bus: Bus, actor: str, row: EndedRow) -> None:
    """Write the `ended` event and, when a sandbox may exist, queue the cleanup behind it."""
    if row.outcome is None:
        return
    ended = Ended(
        deployment_id=row.id,
        actor=actor,
        at=time.time(),
        outcome=row.outcome,
        failure=row.failure,
        url=row.url,
        release=row.release,
    )
    await bus.record(ended, row.traceparent)
    if row.admitted:
        await bus.send(cleanup_command(row), row.traceparent)
