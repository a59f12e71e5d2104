"""Reads a pull consumer with one standing request, and survives restarts of the broker.

A request stays open until its messages have come, so a quiet consumer costs nothing and a message
is handed over as soon as it is stored. No more is ever asked for than the caller can work on.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared.telemetry import log

BROKER_AWAY = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)
"""What nats-py raises when the broker is away or refuses."""
LONGEST_REQUEST_SECONDS = 3.0
"""A request that the broker forgot in a restart is made again after this time."""
_EXPIRY_HEARD_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 2.0
_CONFIRMED_SECONDS = 1
_STILL_COMING_SECONDS = 0.05
_USUAL_ENDS = ("404", "408")

Listeners = set[Callable[[], None]]
"""Called when a connection that was lost is there again."""


class Consumer:
    """One process's view of a durable pull consumer; use as `async with`.

    While the consumer or its stream does not exist it asks again and again, ever less often.
    """

    def __init__(self, client: Client, stream: str, durable: str, reconnected: Listeners | None = None) -> None:
        self._client = client
        self._reconnected: Listeners = set() if reconnected is None else reconnected
        self._request_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._received: deque[Msg] = deque()
        self._news = asyncio.Event()
        self._asked = 0
        self._asked_until = 0.0
        self._paused_until = 0.0
        self._refusals = 0

    async def __aenter__(self) -> "Consumer":
        self._subscription = await self._client.subscribe(self._inbox, cb=self._receive)
        self._reconnected.add(self._ask_anew)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Withdraw the request; what came too late goes back to the broker at once.

        The broker may send for a moment after it has confirmed the end of the subscription. What would
        not be heard then would be missing until the ack wait ends.
        """
        self._reconnected.discard(self._ask_anew)
        with contextlib.suppress(*BROKER_AWAY):
            if self._subscription is not None:
                await self._client._send_unsubscribe(self._subscription._id)
                await self._client.flush(timeout=_CONFIRMED_SECONDS)
                await asyncio.sleep(_STILL_COMING_SECONDS)
                await self._client.flush(timeout=_CONFIRMED_SECONDS)
        with contextlib.suppress(*BROKER_AWAY):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            for message in self._received:
                await message.nak()

    async def poll(self, batch: int, timeout: float, stopping: asyncio.Event) -> list[Msg]:
        """Wait for at most `batch` messages, at most `timeout` seconds or until `stopping` is set.

        Empty when there were none, or when the broker is away.
        """
        self._news.clear()
        await self._ask_for(batch - len(self._received))
        if not self._received:
            await self._wait(timeout, stopping)
        if stopping.is_set():
            return []
        return self.received(batch)

    def received(self, batch: int) -> list[Msg]:
        """Return at most `batch` messages that are here already."""
        return [self._received.popleft() for _ in range(min(batch, len(self._received)))]

    async def _ask_for(self, batch: int) -> None:
        """Keep a request for at least half of `batch` open, for never more than `batch`.

        The broker says when a request has expired; only one that it forgot is given up unheard.
        """
        now = time.monotonic()
        if now < self._paused_until:
            return
        if now > self._asked_until:
            self._asked = 0
        if self._asked * 2 >= batch:
            return
        request = {"batch": batch - self._asked, "expires": int(LONGEST_REQUEST_SECONDS * 1e9)}
        self._asked = batch
        self._asked_until = now + LONGEST_REQUEST_SECONDS + _EXPIRY_HEARD_SECONDS
        with contextlib.suppress(*BROKER_AWAY):
            await self._client.publish(self._request_subject, msgspec.json.encode(request), reply=self._inbox)

    def _ask_anew(self) -> None:
        """Give up the request that was made on a lost connection: the broker may have forgotten it."""
        self._asked_until = self._paused_until = 0.0
        self._news.set()

    async def _wait(self, timeout: float, stopping: asyncio.Event) -> None:
        timeout = min(timeout, max(self._asked_until, self._paused_until) - time.monotonic())
        news = asyncio.ensure_future(self._news.wait())
        stopped = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({news, stopped}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            stopped.cancel()

    async def _receive(self, message: Msg) -> None:
        self._news.set()
        status = (message.headers or {}).get("Status") if message.subject == self._inbox else None
        if status is None:
            self._asked = max(0, self._asked - 1)
            self._refusals = 0
            self._received.append(message)
            return
        unanswered = (message.headers or {}).get("Nats-Pending-Messages")
        self._asked = max(0, self._asked - int(unanswered)) if unanswered else 0
        if status in _USUAL_ENDS:
            self._refusals = 0
        else:
            self._pause(message)

    def _pause(self, refusal: Msg) -> None:
        if not self._refusals:
            log.warning("broker ended a request", of=self._request_subject, why=refusal.headers)
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**self._refusals)
        self._refusals = min(self._refusals + 1, 10)
        self._paused_until = time.monotonic() + pause
