"""What waits in the queue stream, actor by actor."""

import msgspec
import nats.errors
import nats.js.errors

from shared.adapters.jetstream.bus import Bus
from shared.contracts.errors import ZepidError
from shared.pipeline import ACTORS

_AWAY = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class ActorBacklog(msgspec.Struct, frozen=True, rename="camel"):
    """One actor's queue; `consumers` are pulls that are open now."""

    pending: int
    in_flight: int
    redelivered: int
    consumers: int


async def backlog(bus: Bus) -> dict[str, ActorBacklog]:
    """Return every actor's backlog, in the pipeline's order; raises QUEUE_PROCESSING_FAILED."""
    try:
        infos = await bus.jetstream.consumers_info(bus.settings.deployment_queue_name)
    except _AWAY as error:
        raise ZepidError("QUEUE_PROCESSING_FAILED", "The broker does not answer") from error
    by_name = {info.name: info for info in infos}
    return {
        actor: ActorBacklog(
            pending=info.num_pending or 0,
            in_flight=info.num_ack_pending or 0,
            redelivered=info.num_redelivered or 0,
            consumers=info.num_waiting or 0,
        )
        for actor in ACTORS
        if (info := by_name.get(actor))
    }


async def dead_letters(bus: Bus) -> int:
    """Return how many dead letters there are; raises QUEUE_PROCESSING_FAILED."""
    try:
        info = await bus.jetstream.stream_info(bus.settings.deployment_dlq_name)
    except _AWAY as error:
        raise ZepidError("QUEUE_PROCESSING_FAILED", "The broker does not answer") from error
    return info.state.messages
