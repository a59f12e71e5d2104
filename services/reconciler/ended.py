"""Brings deployments that have an outcome to their end: announced, stopped everywhere, cleaned up, freed."""

import time

from services.reconciler.vanished import reissue
from shared.adapters.jetstream.bus import Stored, decode_event
from shared.adapters.postgres.deployments import UnfinishedRow
from shared.commands import cleanup_command
from shared.conclusion import announce, call_off
from shared.contracts.events import Ended, Reissued
from shared.contracts.messages import Command
from shared.contracts.subjects import EVENT_STREAM, actor_in_command, events_of
from shared.pipeline import CLEANUP
from shared.resources import Resources

QUIET_SECONDS = 10.0
"""Whoever decided the outcome has this long to announce it and to have it cleaned up."""
_LONGEST_QUIET_SECONDS = 300.0


async def finish_ended(resources: Resources) -> list[str]:
    """Repeat what follows an outcome where it did not happen; return the ids of those deployments."""
    found = []
    for row in await resources.deployments.unfinished():
        if row.outcome is not None and row.quiet_seconds > QUIET_SECONDS and await _finish(resources, row):
            found.append(row.id)
    return found


async def _finish(resources: Resources, row: UnfinishedRow) -> bool:
    """Announce, stop or clean up again, whichever is missing; return whether anything was."""
    bus = resources.bus
    queued = {actor_in_command(stored.subject) for stored in await bus.commands(row.id)}
    if queued - {CLEANUP.name}:
        await call_off(bus, "reconciler", row)
        return True
    if CLEANUP.name in queued:
        return False
    journal = [decode_event(stored.data) for stored in await _journal(resources, row)]
    if not any(isinstance(event, Ended) for event in journal):
        await announce(bus, "reconciler", row)
        return True
    again = [event for event in journal if isinstance(event, Reissued) and event.next.step == CLEANUP.name]
    if again and time.time() - again[-1].at < _patience(again[-1].next):
        return False
    await reissue(bus, again[-1].next if again else cleanup_command(row), row.traceparent)
    return True


async def _journal(resources: Resources, row: UnfinishedRow) -> list[Stored]:
    return await resources.bus.history(EVENT_STREAM, events_of(row.id))


def _patience(command: Command) -> float:
    """How long to wait before a cleanup that came to nothing is ordered again: longer each time."""
    return min(_LONGEST_QUIET_SECONDS, QUIET_SECONDS * 2.0**command.issue)
