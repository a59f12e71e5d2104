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


async def interrupt(
    deployments: Deployments, bus: Bus, actor: str, deployment_id: str, outcome: str, failure: Failure
) -> Decision:
    """Decide the outcome of a deployment from outside its steps, and end what still runs of it."""
    decision = await deployments.end(deployment_id, outcome, failure)
    await call_off(bus, actor, decision)
    return decision


async def call_off(bus: Bus, actor: str, row: EndedRow) -> None:
    """Announce an outcome decided from outside, stop the worker and remove queued commands, cleanup spared.

    The sandbox's processes are dead when the cleanup is done, also where no worker hears of this.
    """
    await announce(bus, actor, row)
    if row.admitted:
        await bus.request_stop(row.id, row.failure.code if row.failure else "")
        await bus.purge_commands(row.id)


async def announce(bus: Bus, actor: str, row: EndedRow) -> None:
    """Write the `ended` event and, when a sandbox may exist, queue the cleanup behind it."""
    if row.outcome is None:
        return
    await bus.record(ended_event(actor, row), row.traceparent)
    if row.admitted:
        await bus.send(cleanup_command(row), row.traceparent)


def ended_event(actor: str, row: EndedRow) -> Ended:
    """Return what is to be said of a deployment that has an outcome."""
    return Ended(
        deployment_id=row.id,
        actor=actor,
        at=time.time(),
        outcome=str(row.outcome),
        failure=row.failure,
        url=row.url,
        release=row.release,
    )
