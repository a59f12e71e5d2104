"""The broker's word that a stream has something new, by one consumer for the whole gateway.

The consumer lives on one server, and only while someone listens. It numbers what it sends, so a hole in the numbers
shows that something was missed.
"""

import asyncio
import contextlib
import secrets
from datetime import datetime
from typing import Protocol

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from shared.adapters.jetstream.bus import Bus, Stored
from shared.telemetry import log

_CHECK_SECONDS = 1.0
_SILENT_CHECKS = 3
"""A consumer whose server does not answer for so many checks is made again, on another."""
_CONSUMER_AWAY = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class Listener(Protocol):
    """Who is told."""

    def hear(self, message: Stored) -> None:
        """There is a new message; its data is empty where only headers are brought."""

    def miss(self, *, is_another: bool) -> None:
        """Messages may have been missed; `is_another` when the stream was made anew and counts from 1 again."""


class Hints:
    """New messages of one stream, while `wanted` is set.

    Args:
        bus: the connection.
        stream: name of the stream.
        everything: the filter of what is told.
        listener: who is told.
        whole: bring whole messages, not only their headers.
    """

    def __init__(self, bus: Bus, stream: str, everything: str, listener: Listener, *, whole: bool) -> None:
        self.wanted = asyncio.Event()
        self._bus = bus
        self._stream = stream
        self._everything = everything
        self._listener = listener
        self._whole = whole
        self._next = 1
        self._created: datetime | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Consume whenever it is wanted."""
        self._task = asyncio.create_task(self._consume(), name=f"hints of {self._stream}")

    async def stop(self) -> None:
        """End the consumer."""
        self._stopping = True
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _consume(self) -> None:
        """Consume until stopped; a cancellation may get lost in a request whose answer has just come."""
        while not self._stopping:
            await self.wanted.wait()
            try:
                subscription = await self._subscribe()
            except _CONSUMER_AWAY as error:
                log.warning("stream gives no hints", stream=self._stream, error=repr(error))
                await asyncio.sleep(_CHECK_SECONDS)
                continue
            await self._until_lost_or_idle(subscription)
            with contextlib.suppress(*_CONSUMER_AWAY):
                await subscription.unsubscribe()

    async def _subscribe(self) -> JetStreamContext.PushSubscription:
        """Make the consumer, then have the listener look at what came before it, or at another stream."""
        created = (await self._bus.jetstream.stream_info(self._stream)).created
        subscription = await self._make_consumer()
        is_another = self._created not in (None, created)
        self._created = created
        self._listener.miss(is_another=is_another)
        return subscription

    async def _make_consumer(self) -> JetStreamContext.PushSubscription:
        config = ConsumerConfig(
            name=f"gateway-{secrets.token_hex(4)}",
            description="Tells a gateway's watchers of news",
            deliver_policy=DeliverPolicy.NEW,
            ack_policy=AckPolicy.NONE,
            headers_only=not self._whole,
            mem_storage=True,
            num_replicas=1,
        )
        self._next = 1
        return await self._bus.jetstream.subscribe(
            self._everything, stream=self._stream, config=config, cb=self._take, pending_bytes_limit=-1
        )

    async def _until_lost_or_idle(self, subscription: JetStreamContext.PushSubscription) -> None:
        """Return when the broker has no such consumer any more, or does not answer for it, or nobody listens."""
        silent = 0
        while silent < _SILENT_CHECKS and self.wanted.is_set() and not self._stopping:
            await asyncio.sleep(_CHECK_SECONDS)
            try:
                await subscription.consumer_info()
                silent = 0
            except nats.js.errors.NotFoundError:
                log.warning("consumer lost", stream=self._stream)
                return
            except _CONSUMER_AWAY as error:
                log.warning("broker away", stream=self._stream, error=repr(error))
                silent += 1

    async def _take(self, message: Msg) -> None:
        number, sequence = message.metadata.sequence.consumer, message.metadata.sequence.stream
        if number != self._next:
            self._listener.miss(is_another=False)
        self._next = number + 1
        self._listener.hear(Stored(message.subject, sequence, message.data, message.headers or {}))
