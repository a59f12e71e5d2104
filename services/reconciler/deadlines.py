"""Ends what runs past its deadline."""

from shared.adapters.jetstream.bus import Bus
from shared.adapters.postgres.deployments import Deployments
from shared.conclusion import conclude
from shared.contracts.errors import ZepidError

_CODE = "DEPLOYMENT_TIMEOUT"


async def end_overdue(deployments: Deployments, bus: Bus) -> list[str]:
    """Fail overdue deployments, tell their workers to stop, and queue their cleanup; return their ids."""
    ended = []
    for row in await deployments.overdue():
        failure = ZepidError(_CODE, "the deployment did not end before its deadline").failure(row.stage)
        decision = await conclude(deployments, bus, "reconciler", row.id, "failed", failure)
        if decision.decided:
            await bus.request_stop(row.id, _CODE)
            await bus.purge_commands(row.id)
            ended.append(row.id)
    return ended
