"""What the journal tells a worker before it begins, so that a command delivered again repeats no finished work."""

from enum import Enum

from shared.adapters.jetstream.bus import Bus
from shared.attempt import Attempt
from shared.contracts.events import Ended, Event, Failed, Started, Succeeded, WentBack
from shared.pipeline import BY_NAME


class Interrupted(Enum):
    """The delivery before this one ended without an answer."""

    WORKING = "its worker died while it worked"
    ON_THE_WAY = "it did not reach a worker, or only for a moment"


async def look_back(bus: Bus, attempt: Attempt) -> Ended | Succeeded | WentBack | Interrupted | None:
    """Return why the attempt is not to be made as ordered, None when it is.

    The deployment has ended (which does not stop what cleans up), the step has succeeded or gone
    back in this epoch or a later one (which does not stop a cleanup that is ordered again: a database
    that crashed may have forgotten the last one), or the broker delivers again although no attempt failed.
    """
    command = attempt.command
    cleans_up = BY_NAME[command.step].cleans_up
    repeats = cleans_up and command.issue > 0
    kinds: list[type[Event]] = [Succeeded]
    if not cleans_up:
        kinds += [Ended, WentBack]
    if attempt.delivery > 1:
        kinds += [Started, Failed]
    found = await bus.latest(command, *kinds)
    for event in found:
        if isinstance(event, Ended):
            return event
    done = [event for event in found if isinstance(event, Succeeded | WentBack) and event.epoch >= command.epoch]
    if done and not repeats:
        return done[-1]
    return _interruption(attempt, found) if attempt.delivery > 1 else None


def _interruption(attempt: Attempt, found: list[Event]) -> Interrupted | None:
    before = attempt.number - 1
    if any(isinstance(event, Failed) and event.attempt >= before for event in found):
        return None
    started = any(isinstance(event, Started) and event.attempt >= before for event in found)
    return Interrupted.WORKING if started else Interrupted.ON_THE_WAY
