"""What waits in the queue stream, actor by actor."""

import asyncio
import time

import msgspec
import nats.errors
import nats.js.errors

from shared.adapters.jetstream.bus import Bus
from shared.contracts import subjects
from shared.contracts.errors import ZepidError
from shared.pipeline import ACTORS

_AWAY = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class ActorBacklog(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One actor's queue.

    Attributes:
        consumers: pulls that are open now.
        oldest_age_seconds: since the oldest message was queued that is not done; None when there is none.
    """

    pending: int
    in_flight: int
    redelivered: int
    consumers: int
    oldest_age_seconds: float | None = None


async def backlog(bus: Bus) -> dict[str, ActorBacklog]:
    """Return every actor's backlog, in the pipeline's order; raises QUEUE_PROCESSING_FAILED."""
    try:
        infos = await bus.jetstream.consumers_info(bus.settings.deployment_queue_name)
        busy = [info.name for info in infos if info.num_pending or info.num_ack_pending]
        ages = dict(zip(busy, await asyncio.gather(*(_oldest_age(bus, actor) for actor in busy)), strict=True))
    except _AWAY as error:
        raise ZepidError("QUEUE_PROCESSING_FAILED", "The broker does not answer") from error
    by_name = {info.name: info for info in infos}
    return {
        actor: ActorBacklog(
            pending=info.num_pending or 0,
            in_flight=info.num_ack_pending or 0,
            redelivered=info.num_redelivered or 0,
            consumers=info.num_waiting or 0,
            oldest_age_seconds=ages.get(actor),
        )
        for actor in ACTORS
        if (info := by_name.get(actor))
    }


async def _oldest_age(bus: Bus, actor: str) -> float | None:
    """Return the age of the first message an actor has in the queue; acknowledged ones are not in it any more."""
    stream, subject = bus.settings.deployment_queue_name, subjects.commands_for(actor)
    try:
        oldest = await bus.jetstream.get_msg(stream, seq=1, subject=subject, direct=True, next=True)
    except nats.js.errors.NotFoundError:
        return None
    return max(0.0, time.time() - oldest.time.timestamp()) if oldest.time else None


async def dead_letters(bus: Bus) -> int:
    """Return how many dead letters there are; raises QUEUE_PROCESSING_FAILED."""
    try:
        info = await bus.jetstream.stream_info(bus.settings.deployment_dlq_name)
    except _AWAY as error:
        raise ZepidError("QUEUE_PROCESSING_FAILED", "The broker does not answer") from error
    return info.state.messages
