"""Finds commands that no worker will get any more and that no advisory announced: the broker says it at most once."""

import time
from datetime import datetime

from shared.adapters.jetstream.bus import Bus, Stored, decode_event
from shared.burial import Remains
from shared.contracts import subjects
from shared.contracts.events import Failed
from shared.outage import OUTAGE_SECONDS
from shared.pipeline import STEPS, Step


async def find_stuck(bus: Bus) -> list[Remains]:
    """Return the commands in the queue that used up their deliveries and are worked on by nobody."""
    found: list[Remains] = []
    for step in STEPS:
        found += await _stuck_at(bus, step)
    return found


async def _stuck_at(bus: Bus, step: Step) -> list[Remains]:
    """Look closer only where the numbers say that a message is neither pending nor in flight.

    Nothing up to the consumer's acknowledgement floor is in flight, and with none in flight nothing
    that was ever delivered is: what is left there is given up for certain.
    """
    queue = bus.settings.deployment_queue_name
    subject = subjects.commands_for(step.name)
    consumer = await bus.jetstream.consumer_info(queue, step.name)
    in_flight = consumer.num_ack_pending or 0
    stuck = await bus.count(queue, subject) - (consumer.num_pending or 0) - in_flight
    if stuck <= 0 or consumer.delivered is None or consumer.ack_floor is None:
        return []
    delivered, floor = consumer.delivered.stream_seq, consumer.ack_floor.stream_seq
    certain = floor if in_flight else delivered
    return [
        _remains(message, bus)
        for message in await bus.history(queue, subject, up_to=delivered)
        if message.sequence <= certain or await _failed_for_good(bus, step, message)
    ]


async def _failed_for_good(bus: Bus, step: Step, message: Stored) -> bool:
    """Whether the last thing known of a command is its last failure, too long ago for it to be still settled."""
    deployment_id = subjects.deployment_in_command(message.subject)
    latest = []
    for kind in ("started", "failed"):
        told = await bus.history(subjects.EVENT_STREAM, subjects.event(deployment_id, step.name, kind))
        latest += [decode_event(stored.data) for stored in told[-1:]]
    if not latest:
        return False
    last = max(latest, key=lambda event: event.at)
    stored_at = datetime.fromisoformat(message.headers["Nats-Time-Stamp"]).timestamp()
    settled = stored_at < last.at < time.time() - OUTAGE_SECONDS
    return settled and isinstance(last, Failed) and last.retry_in is None


def _remains(message: Stored, bus: Bus) -> Remains:
    return Remains(
        subject=message.subject,
        sequence=message.sequence,
        data=message.data,
        headers=message.headers,
        deliveries=1 + bus.settings.max_retries,
    )
