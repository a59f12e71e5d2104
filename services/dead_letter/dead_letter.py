"""Reads the broker's advisories; copies the command, decides the outcome, removes it: in this order."""

import asyncio
import contextlib
import time
from datetime import datetime

import msgspec
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import RawStreamMsg
from opentelemetry.trace import SpanKind

from shared.adapters.jetstream.bus import Bus, decode_command, decode_event
from shared.adapters.jetstream.consumer import BROKER_AWAY
from shared.adapters.postgres.deployments import Deployments
from shared.conclusion import conclude
from shared.contracts import subjects
from shared.contracts.errors import Failure, ZepidError
from shared.contracts.events import DeadLettered, Failed
from shared.contracts.messages import Advisory, Command, DeadLetter
from shared.contracts.subjects import ADVISORY_STREAM, EVENT_STREAM, event
from shared.outage import AWAY
from shared.pipeline import BY_NAME
from shared.resources import Resources
from shared.service import Service
from shared.settings import Settings
from shared.telemetry import TRACEPARENT, log, mark_failed, message_attributes, span, trace_id_in

_EXHAUSTED = "max_retries_exceeded"
_AGAIN_SECONDS = 5.0


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
        """Handle advisories until `stopping` is set."""
        settings = self._settings
        async with self._bus.consumer(ADVISORY_STREAM, "dead-letter") as advisories:
            while not stopping.is_set():
                for message in await advisories.poll(settings.max_batch_size, settings.max_batch_timeout, stopping):
                    await self._handle(message)

    async def _handle(self, message: Msg) -> None:
        advisory = msgspec.json.decode(message.data, type=Advisory)
        try:
            original = await self._original(advisory)
            if original is not None:
                await self._bury(advisory, original, decode_command(original.data or b""))
            await message.ack_sync(timeout=5)
        except AWAY as error:
            log.warning("dead letter postponed", error=repr(error))
            with contextlib.suppress(*BROKER_AWAY):
                await message.nak(delay=_AGAIN_SECONDS)

    async def _original(self, advisory: Advisory) -> RawStreamMsg | None:
        """Return the message that the advisory names, None when it is gone or another one."""
        if not advisory.type.endswith("max_deliver"):
            return None
        try:
            original = await self._bus.jetstream.get_msg(advisory.stream, advisory.stream_seq)
        except nats.js.errors.NotFoundError:
            return None
        stored, raised = original.time, datetime.fromisoformat(advisory.timestamp)
        return original if stored is not None and stored <= raised else None

    async def _bury(self, advisory: Advisory, original: RawStreamMsg, command: Command) -> None:
        traceparent = (original.headers or {}).get(TRACEPARENT, "")
        subject = subjects.command(command.step, command.deployment_id)
        attributes = message_attributes("dead-letter", subject, command.deployment_id)
        with span(f"bury {command.step}", traceparent, kind=SpanKind.CONSUMER, attributes=attributes) as current:
            mark_failed(current, _EXHAUSTED, f"the {command.step} command used up its {advisory.deliveries} deliveries")
            await self._copy_and_end(advisory, original, command, traceparent)

    async def _copy_and_end(
        self, advisory: Advisory, original: RawStreamMsg, command: Command, traceparent: str
    ) -> None:
        failures = await self._failures(command)
        letter = DeadLetter(
            deployment_id=command.deployment_id,
            actor=command.step,
            reason=_EXHAUSTED,
            deliveries=advisory.deliveries,
            died_at=time.time(),
            body=(original.data or b"").decode(errors="replace"),
            trace_id=trace_id_in(traceparent),
            errors=tuple(f"{failure.code}: {failure.message}" for failure in failures),
        )
        await self._bus.bury(letter, advisory.stream_seq)
        dead = DeadLettered(deployment_id=command.deployment_id, actor=command.step, at=time.time(), reason=_EXHAUSTED)
        await self._bus.record(dead, traceparent, copy=str(advisory.stream_seq))
        if not BY_NAME[command.step].cleans_up:
            failure = failures[-1] if failures else _unexplained(command)
            await conclude(self._deployments, self._bus, "dead-letter", command.deployment_id, "failed", failure)
        await self._bus.jetstream.delete_msg(advisory.stream, advisory.stream_seq)
        log.error("dead letter", deployment=command.deployment_id, step=command.step, deliveries=advisory.deliveries)

    async def _failures(self, command: Command) -> list[Failure]:
        subject = event(command.deployment_id, command.step, "failed")
        events = [decode_event(stored.data) for stored in await self._bus.history(EVENT_STREAM, subject)]
        return [happened.failure for happened in events if isinstance(happened, Failed)]


def _unexplained(command: Command) -> Failure:
    message = f"every attempt of the {command.step} step ended without an answer (its process was killed)"
    return ZepidError("DEPLOYMENT_STEP_FAILED", message).failure(command.step)
