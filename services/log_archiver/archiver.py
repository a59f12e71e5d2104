"""When a deployment is cleaned up its log is complete: one file for each attempt of each step.

A worker that was stopped for long and goes on later may still add lines; its result is refused, and
the log archived again.
"""

import asyncio
import contextlib
from itertools import groupby

import msgspec
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind

from shared.adapters.jetstream.bus import Bus, decode_chunk
from shared.adapters.jetstream.consumer import BROKER_AWAY
from shared.contracts.subjects import EVENT_STREAM, LOG_STREAM, deployment_in, logs_of
from shared.log_lines import NumberedLine, archive_prefix, numbered
from shared.outage import AWAY
from shared.pipeline import ORDER
from shared.ports import Objects
from shared.resources import Resources
from shared.service import Service
from shared.settings import Settings
from shared.telemetry import TRACEPARENT, log, message_attributes, span

_AGAIN_SECONDS = 30


def create(resources: Resources) -> Service:
    """Make the service."""
    return LogArchiver(resources.bus, resources.logs, resources.settings)


class LogArchiver:
    """The only writer of archived logs; writing one twice gives the same files."""

    def __init__(self, bus: Bus, objects: Objects, settings: Settings) -> None:
        self._bus = bus
        self._objects = objects
        self._settings = settings

    async def run(self, stopping: asyncio.Event) -> None:
        """Archive until `stopping` is set."""
        settings = self._settings
        async with self._bus.consumer(EVENT_STREAM, "log-archiver") as ended:
            while not stopping.is_set():
                batch = await ended.poll(settings.max_batch_size, settings.max_batch_timeout, stopping)
                await asyncio.gather(*(self._handle(message) for message in batch))

    async def _handle(self, message: Msg) -> None:
        deployment_id = deployment_in(message.subject)
        attributes = message_attributes("log-archiver", message.subject, deployment_id)
        traceparent = (message.headers or {}).get(TRACEPARENT, "")
        try:
            with span("archive logs", traceparent, kind=SpanKind.CONSUMER, attributes=attributes):
                await self._archive(deployment_id)
            await message.ack()
        except AWAY as error:
            log.warning("archiving postponed", deployment=deployment_id, error=repr(error))
            with contextlib.suppress(*BROKER_AWAY):
                await message.nak(delay=_AGAIN_SECONDS)

    async def _archive(self, deployment_id: str) -> None:
        stored = await self._bus.history(LOG_STREAM, logs_of(deployment_id))
        lines = [line for chunk in stored for line in numbered(decode_chunk(chunk.data), chunk.sequence)]
        lines.sort(key=_file)
        for (step, attempt), attempt_lines in groupby(lines, key=_file):
            key = f"{archive_prefix(deployment_id)}{ORDER[step] + 1:02}-{step}.{attempt}.ndjson"
            await self._objects.put(key, b"".join(msgspec.json.encode(line) + b"\n" for line in attempt_lines))


def _file(line: NumberedLine) -> tuple[str, int]:
    return line.step, line.attempt
