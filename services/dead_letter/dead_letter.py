"""Gives up the commands that used up their deliveries: as the broker says so, and as a sweep finds them."""

import asyncio
import contextlib
from datetime import datetime

import msgspec
import nats.js.errors
from nats.aio.msg import Msg

from services.dead_letter.sweep import find_stuck
from shared.adapters.jetstream.bus import Bus
from shared.adapters.jetstream.consumer import BROKER_AWAY
from shared.adapters.postgres.deployments import Deployments
from shared.burial import Remains, bury
from shared.contracts.messages import Advisory
from shared.contracts.subjects import ADVISORY_STREAM
from shared.outage import AWAY
from shared.resources import Resources
from shared.service import Service, sleep_or_stop
from shared.settings import Settings
from shared.telemetry import log

_ACTOR = "dead-letter"
_AGAIN_SECONDS = 5.0
SWEEP_SECONDS = 10.0


def create(resources: Resources) -> Service:
    """Make the service."""
    return DeadLetters(resources.bus, resources.deployments, resources.settings)


class DeadLetters:
    """A crash between any two of its effects only repeats them."""

    def __init__(self, bus: Bus, deployments: Deployments, settings: Settings) -> None:
        self._bus = bus
        self._deployments = deployments
        self._settings = settings

    async def run(self, stopping: asyncio.Event) -> None:
        """Handle advisories, and sweep for what none announced, until `stopping` is set."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._listen(stopping))
            both.create_task(self._sweep_regularly(stopping))

    async def _listen(self, stopping: asyncio.Event) -> None:
        settings = self._settings
        async with self._bus.consumer(ADVISORY_STREAM, _ACTOR) as advisories:
            while not stopping.is_set():
                for message in await advisories.poll(settings.max_batch_size, settings.max_batch_timeout, stopping):
                    await self._handle(message)

    async def _handle(self, message: Msg) -> None:
        try:
            remains = await self._remains(msgspec.json.decode(message.data, type=Advisory))
            if remains is not None:
                await self._give_up(remains)
            await self._bus.acknowledge(message)
        except msgspec.DecodeError as error:
            log.error("unreadable advisory dropped", subject=message.subject, error=str(error))
            await self._bus.acknowledge(message)
        except AWAY as error:
            log.warning("dead letter postponed", error=repr(error))
            with contextlib.suppress(*BROKER_AWAY):
                await message.nak(delay=_AGAIN_SECONDS)

    async def _sweep_regularly(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await sleep_or_stop(stopping, SWEEP_SECONDS)
            try:
                for remains in await find_stuck(self._bus):
                    await self._give_up(remains)
            except AWAY as error:
                log.warning("sweep postponed", error=repr(error))

    async def _give_up(self, remains: Remains) -> None:
        await bury(self._deployments, self._bus, _ACTOR, remains)
        await self._bus.delete(self._settings.deployment_queue_name, remains.sequence)

    async def _remains(self, advisory: Advisory) -> Remains | None:
        """Return the message that the advisory names, None when it is gone or another one.

        What a worker terminated, it has buried before.
        """
        if not advisory.type.endswith("max_deliver"):
            return None
        try:
            original = await self._bus.jetstream.get_msg(advisory.stream, advisory.stream_seq)
        except nats.js.errors.NotFoundError:
            return None
        stored, raised = original.time, datetime.fromisoformat(advisory.timestamp)
        if stored is None or stored > raised:
            return None
        return Remains(
            subject=original.subject or "",
            sequence=advisory.stream_seq,
            data=original.data or b"",
            headers=original.headers or {},
            deliveries=advisory.deliveries,
        )
