"""Work that an answer does not wait for."""

import asyncio
from collections.abc import Coroutine

from shared.contracts.errors import ZepidError
from shared.telemetry import log

_DRAIN_SECONDS = 3.0


class Background:
    """Tasks that are kept until they are done; their failures are logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None], what: str) -> None:
        """Begin `work`; `what` names it in the log should it fail."""
        task = asyncio.create_task(work, name=what)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def drain(self) -> None:
        """Wait a moment for what was begun; the reconciler does what a broker that is away keeps from being done."""
        if self._tasks:
            _, unfinished = await asyncio.wait(set(self._tasks), timeout=_DRAIN_SECONDS)
            for task in unfinished:
                task.cancel()

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, ZepidError):
            log.warning("background work failed", what=task.get_name(), error=error.message)
        elif error is not None:
            log.error("background work failed", what=task.get_name(), exc_info=error)
