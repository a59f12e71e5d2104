"""For how long the broker leaves a delivery to the worker that has it."""

import time

from nats.aio.msg import Msg

from shared.pipeline import ACK_WAIT_SECONDS


class Lease:
    """Starts with the delivery and is extended by heartbeats.

    A worker that was stopped, or cut off, for longer than the ack wait finds its lease lapsed: the
    broker may have given the command to another. It stays lapsed, whatever is said to the broker afterwards.
    """

    def __init__(self, message: Msg) -> None:
        self._message = message
        self._until = time.monotonic() + ACK_WAIT_SECONDS

    @property
    def lapsed(self) -> bool:
        """Whether another worker may have the command by now."""
        return time.monotonic() > self._until

    async def extend(self) -> None:
        """Tell the broker that the work goes on."""
        began, lapsed = time.monotonic(), self.lapsed
        await self._message.in_progress()
        if not lapsed:
            self._until = began + ACK_WAIT_SECONDS
