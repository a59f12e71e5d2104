"""Publishes commands again whose message is gone: never published, or lost with the queue stream."""

import time

import msgspec

from shared.adapters.jetstream.bus import Bus, Stored, decode_event
from shared.adapters.postgres.deployments import Deployments, UnfinishedRow
from shared.commands import cleanup_command, first_command
from shared.conclusion import announce
from shared.contracts.events import Admitted, Reissued, Succeeded, WentBack
from shared.contracts.messages import Command
from shared.contracts.subjects import EVENT_STREAM, events_of
from shared.pipeline import CLEANUP, ORDER

QUIET_SECONDS = 15.0
"""Younger deployments are left alone: their command may be on its way."""


async def reissue_vanished(deployments: Deployments, bus: Bus) -> list[str]:
    """Find deployments in the pipeline without any message and publish what comes next; return their ids."""
    reissued = []
    for row in await deployments.unfinished():
        if row.quiet_seconds < QUIET_SECONDS or await bus.has_commands(row.id):
            continue
        journal = await bus.history(EVENT_STREAM, events_of(row.id))
        await _reissue(bus, row, journal)
        reissued.append(row.id)
    return reissued


async def _reissue(bus: Bus, row: UnfinishedRow, journal: list[Stored]) -> None:
    """Say in the journal what is done, then publish the command."""
    known = _newest_command(row, journal)
    if known is None:
        command = first_command(row)
        admitted = Admitted(deployment_id=row.id, actor="intake", at=time.time(), next=command)
        await bus.record(admitted, row.traceparent)
    else:
        command = msgspec.structs.replace(known, issue=known.issue + 1)
        if row.outcome is not None:
            await announce(bus, "reconciler", row)
        await bus.record(_reissued(command), row.traceparent, copy=f"{command.step}.{command.issue}")
    await bus.send(command, row.traceparent)


def _reissued(command: Command) -> Reissued:
    return Reissued(
        deployment_id=command.deployment_id,
        actor="reconciler",
        at=time.time(),
        epoch=command.epoch,
        issue=command.issue,
        next=command,
    )


def _newest_command(row: UnfinishedRow, journal: list[Stored]) -> Command | None:
    """Return the command that the journal says comes next, with the highest issue it was given."""
    found: Command | None = None
    for stored in journal:
        match decode_event(stored.data):
            case Admitted(next=command) | WentBack(next=command) | Reissued(next=command):
                found = max(found, command, key=_age) if found else command
            case Succeeded(next=Command() as command):
                found = max(found, command, key=_age) if found else command
    if row.outcome is not None and (found is None or found.step != CLEANUP.name):
        return cleanup_command(row)
    return found


def _age(command: Command) -> tuple[bool, int, int, int]:
    return command.step == CLEANUP.name, command.epoch, ORDER[command.step], command.issue
