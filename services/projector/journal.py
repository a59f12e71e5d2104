"""Reads the journal in order from a sequence; the broker need not remember anything for it."""

import asyncio
from datetime import datetime

import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo

from shared.adapters.jetstream.bus import Bus
from shared.adapters.jetstream.consumer import BROKER_AWAY, LONGEST_REQUEST_SECONDS, Consumer
from shared.contracts.errors import ZepidError
from shared.contracts.subjects import ALL_EVENTS, EVENT_STREAM

_CONSUMER = "projector"
_BATCH = 256
_FORGOTTEN_SECONDS = 60.0
_GATHER_SECONDS = 0.01
"""Events come in flocks; one statement for a flock costs little more than one for each."""


class Journal:
    """An ordered read of `deployment-events`; the consumer is made again at every start."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._consumer: Consumer | None = None
        self._received = 0

    async def created(self) -> datetime:
        """When the stream was created; another time means another journal."""
        created = (await self._info()).created
        if created is None:
            raise ZepidError("QUEUE_PROCESSING_FAILED", "the broker did not say when the journal was created")
        return created

    async def last_sequence(self) -> int:
        """The sequence of the newest event."""
        return (await self._info()).state.last_seq

    async def open(self, after: int) -> None:
        """Read from the event after a sequence on."""
        try:
            await self.close()
            config = ConsumerConfig(
                name=_CONSUMER,
                description="Folds the journal into the status rows",
                filter_subject=ALL_EVENTS,
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=after + 1,
                inactive_threshold=_FORGOTTEN_SECONDS,
                max_deliver=1,
            )
            await self._bus.jetstream.add_consumer(EVENT_STREAM, config)
            self._consumer = await self._bus.consumer(EVENT_STREAM, _CONSUMER).__aenter__()
            self._received = 0
        except BROKER_AWAY as error:
            raise ZepidError("QUEUE_PROCESSING_FAILED", f"the journal could not be opened: {error!r}") from error

    async def close(self) -> None:
        """Remove a consumer left from an earlier start."""
        if self._consumer is not None:
            await self._consumer.__aexit__()
            self._consumer = None
        try:
            await self._bus.jetstream.delete_consumer(EVENT_STREAM, _CONSUMER)
        except nats.js.errors.NotFoundError:
            return

    async def read(self, stopping: asyncio.Event) -> list[Msg]:
        """Wait for events; none after a quiet while.

        Nothing is acknowledged, so what was on its way when a connection broke would be missed: the
        broker numbers what it delivers, and a hole is an error.

        Raises:
            ZepidError: QUEUE_PROCESSING_FAILED, the consumer is gone (the broker was restarted), or
                events were lost on the way; open it again after the last sequence.
        """
        if self._consumer is None:
            raise ZepidError("QUEUE_PROCESSING_FAILED", "the journal is not open")
        messages = await self._consumer.poll(_BATCH, LONGEST_REQUEST_SECONDS, stopping)
        if messages:
            await asyncio.sleep(_GATHER_SECONDS)
            messages += self._consumer.received(_BATCH)
        elif not stopping.is_set() and await self._delivered() != self._received:
            await asyncio.sleep(_GATHER_SECONDS)
            messages = self._consumer.received(_BATCH)
            self._check(bool(messages))
        self._received += len(messages)
        self._check(not messages or messages[-1].metadata.sequence.consumer == self._received)
        return messages

    def _check(self, complete: bool) -> None:
        if not complete:
            raise ZepidError("QUEUE_PROCESSING_FAILED", "events were lost on their way to the projector")

    async def _delivered(self) -> int:
        try:
            info = await self._bus.jetstream.consumer_info(EVENT_STREAM, _CONSUMER)
        except BROKER_AWAY as error:
            raise ZepidError("QUEUE_PROCESSING_FAILED", f"the journal's reader is gone: {error!r}") from error
        return info.delivered.consumer_seq if info.delivered else 0

    async def _info(self) -> StreamInfo:
        try:
            return await self._bus.jetstream.stream_info(EVENT_STREAM)
        except BROKER_AWAY as error:
            raise ZepidError("QUEUE_PROCESSING_FAILED", f"the journal does not answer: {error!r}") from error
