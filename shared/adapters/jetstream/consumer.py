"""Polls a pull consumer in a way that survives restarts of the broker and stops at once."""

import asyncio
import contextlib

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from shared.telemetry import log

BROKER_AWAY = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)
"""What nats-py raises when the broker is away or refuses."""
LONGEST_POLL_SECONDS = 5.0
"""A poll that the broker forgot in a restart must not block for longer than this."""
_AFTER_ERROR_SECONDS = 0.5


class Consumer:
    """One process's view of a pull consumer."""

    def __init__(self, subscription: JetStreamContext.PullSubscription) -> None:
        self._subscription = subscription

    async def poll(self, batch: int, timeout: float, stopping: asyncio.Event) -> list[Msg]:
        """Wait for messages, at most `timeout` seconds or until `stopping` is set.

        Empty when there were none, or when the broker is away.
        """
        fetching = asyncio.create_task(self._fetch(batch, min(timeout, LONGEST_POLL_SECONDS)))
        stopped = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({fetching, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return fetching.result() if fetching.done() else []
        finally:
            fetching.cancel()
            stopped.cancel()

    async def exists(self) -> bool:
        """Whether the broker still knows the consumer."""
        try:
            await self._subscription.consumer_info()
        except BROKER_AWAY:
            return False
        return True

    async def close(self) -> None:
        """Withdraw the open poll, so that no message is sent to nobody."""
        with contextlib.suppress(*BROKER_AWAY):
            await self._subscription.unsubscribe()

    async def _fetch(self, batch: int, timeout: float) -> list[Msg]:
        try:
            return await self._subscription.fetch(batch, timeout=timeout)
        except TimeoutError:
            return []
        except BROKER_AWAY as error:
            log.warning("poll failed, trying again", error=repr(error))
            await asyncio.sleep(_AFTER_ERROR_SECONDS)
            return []
