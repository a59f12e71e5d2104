"""Publishes commands again whose message is gone: never published, or lost with the queue stream."""

import time

import msgspec

from shared.adapters.jetstream.bus import Bus, Stored, decode_event
from shared.adapters.postgres.deployments import UnfinishedRow
from shared.commands import first_command
from shared.contracts.events import Admitted, Reissued, Succeeded, WentBack
from shared.contracts.messages import Command
from shared.contracts.subjects import EVENT_STREAM, events_of
from shared.pipeline import ORDER
from shared.resources import Resources

QUIET_SECONDS = 15.0
"""Younger deployments are left alone: their command may be on its way."""


async def reissue_vanished(resources: Resources) -> list[str]:
    """Find running deployments without any message and publish what comes next; return their ids."""
    bus = resources.bus
    reissued = []
    for row in await resources.deployments.unfinished():
        if row.outcome is not None or row.quiet_seconds < QUIET_SECONDS or await bus.commands(row.id):
            continue
        known = newest_command(await bus.history(EVENT_STREAM, events_of(row.id)))
        if known is None:
            await _start(bus, row)
        else:
            await reissue(bus, known, row.traceparent)
        reissued.append(row.id)
    return reissued


async def reissue(bus: Bus, known: Command, traceparent: str) -> None:
    """Say in the journal that a command is published again, then publish it."""
    command = msgspec.structs.replace(known, issue=known.issue + 1)
    event = Reissued(
        deployment_id=command.deployment_id,
        actor="reconciler",
        at=time.time(),
        epoch=command.epoch,
        issue=command.issue,
        next=command,
    )
    await bus.record(event, traceparent, copy=f"{command.step}.{command.issue}")
    await bus.send(command, traceparent)


def newest_command(journal: list[Stored]) -> Command | None:
    """Return the command that the journal says comes next, with the highest issue it was given."""
    found: Command | None = None
    for stored in journal:
        match decode_event(stored.data):
            case Admitted(next=command) | WentBack(next=command) | Reissued(next=command):
                found = max(found, command, key=_age) if found else command
            case Succeeded(next=Command() as command):
                found = max(found, command, key=_age) if found else command
    return found


async def _start(bus: Bus, row: UnfinishedRow) -> None:
    command = first_command(row)
    admitted = Admitted(deployment_id=row.id, actor="intake", at=time.time(), next=command)
    await bus.record(admitted, row.traceparent)
    await bus.send(command, row.traceparent)


def _age(command: Command) -> tuple[int, int, int]:
    return command.epoch, ORDER[command.step], command.issue
