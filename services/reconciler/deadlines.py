"""Ends what ran past its deadline, or waited for longer than anything may."""

from shared.adapters.postgres.deployments import OverdueRow
from shared.burial import PROCESSING_TIMEOUT, Remains, bury
from shared.conclusion import interrupt
from shared.contracts import subjects
from shared.contracts.errors import Failure, ZepidError
from shared.pipeline import BY_NAME
from shared.resources import Resources

_ACTOR = "reconciler"


async def end_overdue(resources: Resources) -> list[str]:
    """Fail overdue deployments, keep their commands as dead letters, stop their workers; return their ids."""
    rows = await resources.deployments.overdue(resources.settings.max_waiting_time / 1000)
    for row in rows:
        failure = _failure(row)
        await _keep_commands(resources, row.id, failure)
        await interrupt(resources.deployments, resources.bus, _ACTOR, row.id, "failed", failure)
    return [row.id for row in rows]


def _failure(row: OverdueRow) -> Failure:
    what = "did not end before its deadline" if row.admitted else "waited for longer than MAX_WAITING_TIME allows"
    return ZepidError("DEPLOYMENT_TIMEOUT", f"the deployment {what}").failure(row.stage)


async def _keep_commands(resources: Resources, deployment_id: str, failure: Failure) -> None:
    for stored in await resources.bus.commands(deployment_id):
        if subjects.actor_in_command(stored.subject) in BY_NAME:
            remains = Remains(stored.subject, stored.sequence, stored.data, stored.headers, deliveries=0)
            await bury(resources.deployments, resources.bus, _ACTOR, remains, PROCESSING_TIMEOUT, failure)
