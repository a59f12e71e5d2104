"""Finds commands that no worker will get any more and that no advisory announced: the broker says it at most once."""

import time

from shared.adapters.jetstream.bus import Bus, Stored, decode_event
from shared.burial import Remains
from shared.contracts import subjects
from shared.contracts.events import Failed, Started
from shared.pipeline import ACK_WAIT_SECONDS, STEPS, Step

_ANNOUNCED_SECONDS = 5.0
"""An advisory comes before that; the sweep leaves young endings to it."""


async def find_stuck(bus: Bus) -> list[Remains]:
    """Return the commands in the queue that used up their deliveries and are worked on by nobody."""
    found: list[Remains] = []
    for step in STEPS:
        found += await _stuck_at(bus, step)
    return found


async def _stuck_at(bus: Bus, step: Step) -> list[Remains]:
    """Look closer only where the numbers say that a message is neither pending nor in flight."""
    queue = bus.settings.deployment_queue_name
    consumer = await bus.jetstream.consumer_info(queue, step.name)
    subject = subjects.commands_for(step.name)
    stored = await bus.count(queue, subject)
    stuck = stored - (consumer.num_pending or 0) - (consumer.num_ack_pending or 0)
    delivered = consumer.delivered.stream_seq if consumer.delivered else 0
    if stuck <= 0:
        return []
    idle = not consumer.num_ack_pending
    candidates = [message for message in await bus.history(queue, subject) if message.sequence <= delivered]
    return [_remains(message, bus) for message in candidates if await _is_given_up(bus, step, message, idle=idle)]


async def _is_given_up(bus: Bus, step: Step, message: Stored, *, idle: bool) -> bool:
    """Whether the last attempt has failed for good, or nobody can be working on it any more."""
    deployment_id = subjects.deployment_in_command(message.subject)
    latest = [
        decode_event(stored.data)
        for kind in ("started", "failed")
        for stored in (await bus.history(subjects.EVENT_STREAM, subjects.event(deployment_id, step.name, kind)))[-1:]
    ]
    last_at = max((event.at for event in latest), default=0.0)
    quiet = time.time() - last_at
    if any(isinstance(event, Failed) and event.retry_in is None and event.at == last_at for event in latest):
        return quiet > _ANNOUNCED_SECONDS
    if idle:
        return quiet > ACK_WAIT_SECONDS + _ANNOUNCED_SECONDS
    return any(isinstance(event, Started) for event in latest) and quiet > step.timeout + ACK_WAIT_SECONDS


def _remains(message: Stored, bus: Bus) -> Remains:
    return Remains(
        subject=message.subject,
        sequence=message.sequence,
        data=message.data,
        headers=message.headers,
        deliveries=1 + bus.settings.max_retries,
    )
