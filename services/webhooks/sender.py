"""Sends what is due, over and over: at least once, in no promised order, several senders side by side.

A delivery is leased, sent and recorded. A sender that is killed in between leaves the lease to run out, and the
message goes out once more under the same id, by which receivers know it.
"""

import asyncio
import contextlib
import time
from functools import partial

from services.webhooks.patience import FAILING, Patience
from services.webhooks.postman import Postman, Reply
from shared.adapters.postgres.outbox import DueDelivery, Outbox
from shared.adapters.postgres.webhooks import TEST_EVENT
from shared.outage import AWAY, insist
from shared.resources import Resources
from shared.sealing import Seal
from shared.service import Service
from shared.settings import Settings
from shared.telemetry import log

CONCURRENCY = 64
"""Messages on their way from one sender."""
CONCURRENCY_OF_ONE = 4
"""Messages on their way to one webhook, over all senders."""
_TICK_SECONDS = 0.5
_LAST_WORDS_SECONDS = 5.0
_SPARE_SECONDS = 30.0
"""A lease outlives the time-out by this, for recording."""
_DAY_SECONDS = 86_400


def create(resources: Resources) -> Service:
    """Make the service."""
    return Sender(Outbox(resources.pool), resources.seal, resources.settings)


class Sender:
    """One sender."""

    def __init__(self, outbox: Outbox, seal: Seal, settings: Settings, patience: Patience | None = None) -> None:
        self._outbox = outbox
        self._seal = seal
        self._settings = settings
        self._timeout = settings.webhook_timeout / 1000
        self._patience = patience or Patience(settings.webhook_disabled_after_days * _DAY_SECONDS)
        self._sending: set[asyncio.Task[None]] = set()
        self._look_again = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Send until `stopping` is set; what is on its way then has a moment to arrive."""
        async with Postman(self._seal, self._settings.webhook_networks, self._timeout, CONCURRENCY) as postman:
            try:
                while not stopping.is_set():
                    self._look_again.clear()
                    await self._look(postman)
                    await self._rest(stopping)
            finally:
                await self._drain()

    async def _look(self, postman: Postman) -> None:
        try:
            await self._send_due(postman)
        except AWAY as error:
            log.warning("webhooks wait for the database", error=repr(error))

    async def _send_due(self, postman: Postman) -> None:
        due = await self._outbox.claim(
            CONCURRENCY - len(self._sending),
            limit_of_one=CONCURRENCY_OF_ONE,
            failing=FAILING,
            lease_seconds=self._timeout + _SPARE_SECONDS,
        )
        for delivery in due:
            task = asyncio.create_task(self._deliver(postman, delivery))
            self._sending.add(task)
            task.add_done_callback(self._arrived)

    async def _deliver(self, postman: Postman, delivery: DueDelivery) -> None:
        reply = await postman.carry(delivery)
        if reply.fault:
            log.info("webhook delivery failed", webhook=delivery.webhook_id, delivery=delivery.id, fault=reply.fault)
        await insist(partial(self._record, delivery, reply))

    async def _record(self, delivery: DueDelivery, reply: Reply) -> None:
        if not reply.fault and reply.status is not None:
            await self._outbox.succeeded(delivery, reply.status)
            return
        patience = self._patience
        disabled = patience.disabled_reason(delivery.failing_since, time.time(), reply.fault)
        if reply.is_gone:
            disabled = "The endpoint wants no more messages: it answered HTTP 410"
        is_test = delivery.event == TEST_EVENT
        await self._outbox.failed(
            delivery,
            answer=reply.status,
            fault=reply.fault,
            retry_seconds=None if is_test else patience.retry_seconds(delivery.tries, reply.retry_after),
            pause_seconds=patience.pause_seconds(delivery.failures + 1),
            disabled_reason=disabled,
        )

    def _arrived(self, task: asyncio.Task[None]) -> None:
        """Make room; an unforeseen error is logged, and the lease sees to the delivery."""
        self._sending.discard(task)
        self._look_again.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("webhook delivery not recorded", exc_info=error)

    async def _rest(self, stopping: asyncio.Event) -> None:
        """Wait until it is time to look again: a message has arrived, or a moment has passed."""
        waits = [asyncio.create_task(event.wait()) for event in (stopping, self._look_again)]
        await asyncio.wait(waits, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _drain(self) -> None:
        """Let what is on its way arrive; what takes too long is sent again when its lease is over."""
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=_LAST_WORDS_SECONDS)
            for task in late:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*late)
