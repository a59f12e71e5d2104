"""One Worker: its process from start to end, watched, and the requests that it has."""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from enum import Enum

import httpcore

from shared.adapters.workerd.process import WorkerProcess
from shared.contracts.errors import ZepidError
from shared.telemetry import log

_LOOK_SECONDS = 0.5
_MOST_CONNECTIONS = 256
_KEPT_SECONDS = 3.0
"""How long a connection is kept without a request; workerd closes it after 5 s."""

Launch = Callable[[], AbstractAsyncContextManager[WorkerProcess]]


class Ending(Enum):
    """Why a process ended, for people."""

    IDLE = "had nothing to do"
    RETIRED = "was ended to make room"
    BUSY_LOOP = "used the processor for too long without a sign of life"
    DIED = "ended by itself: it failed to start, or needed too much memory"
    NOT_STARTED = "could not be started"

    @property
    def is_failure(self) -> bool:
        """Whether the Worker, or we, did something wrong."""
        return self not in (Ending.IDLE, Ending.RETIRED)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a Worker may do.

    Attributes:
        idle_seconds: without a request after which its process ends.
        cpu_seconds: processor time without a sign of life after which it is killed.
        answer_seconds: until the head of an answer.
    """

    idle_seconds: float
    cpu_seconds: float
    answer_seconds: float = 100.0


class Worker:
    """A Worker's process while it lives; a new request after its end needs a new one.

    Attributes:
        organization_id: whose it is.
        ending: why it ended; None while it runs.
        requests: how many it has now.
        used_at: when it last had one, by the monotonic clock.
    """

    def __init__(self, name: str, organization_id: str, launch: Launch, limits: Limits) -> None:
        self.name = name
        self.organization_id = organization_id
        self.limits = limits
        self.ending: Ending | None = None
        self.requests = 0
        self._launch = launch
        self.used_at = time.monotonic()
        self._retired = asyncio.Event()
        self._ended = asyncio.Event()
        self._last_words = ""
        self._heard = True
        self._connections: asyncio.Future[httpcore.AsyncConnectionPool] = asyncio.get_running_loop().create_future()

    @property
    def is_idle(self) -> bool:
        """Whether it has no request."""
        return self.requests == 0

    def retire(self) -> None:
        """Let the process end as soon as possible."""
        self.ending = self.ending or Ending.RETIRED
        self._retired.set()

    def end(self) -> None:
        """Note the end of a request."""
        self.requests -= 1
        self.used_at = time.monotonic()

    def heard(self) -> None:
        """Note a sign of life: something came from the process."""
        self._heard = True

    async def begun(self) -> httpcore.AsyncConnectionPool:
        """Note a request and return the way to the process, which does not end for want of work until `end`.

        Raises:
            ZepidError: WORKER_FAILED, it could not be started.
        """
        self.requests += 1
        try:
            return await asyncio.shield(self._connections)
        except BaseException:
            self.end()
            raise

    async def failure(self) -> ZepidError:
        """Return why a request was cut off; the end of the process may be seen a moment later than that."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), 2 * _LOOK_SECONDS)
        return self.error

    @property
    def error(self) -> ZepidError:
        """What its end means for a request."""
        ending = self.ending or Ending.DIED
        return ZepidError("WORKER_FAILED", f"the Worker's process {ending.value}", excerpt=self._last_words)

    async def run(self) -> None:
        """Start the process and watch it to its end, whatever that is."""
        try:
            async with self._launch() as process, _connected(process.socket) as connections:
                self._connections.set_result(connections)
                self.ending = await self._watched(process)
                self._last_words = _error_in(process.said)
                self._ended.set()
                _say_end(self.name, self.ending, process)
        except Exception as error:  # noqa: BLE001 - the boundary: whoever waits for the process must hear of it
            self.ending = Ending.NOT_STARTED
            log.warning("a worker could not be started", worker=self.name, exc_info=error)
            if not self._connections.done():
                why = error.message if isinstance(error, ZepidError) else "the operator finds the reason in the log"
                self._connections.set_exception(ZepidError("WORKER_FAILED", f"the Worker could not be started: {why}"))

    async def _watched(self, process: WorkerProcess) -> Ending:
        """Look at it again and again; return why it is to end."""
        changes = {asyncio.create_task(process.process.wait()), asyncio.create_task(self._retired.wait())}
        used = 0.0
        try:
            while not process.has_ended and self.ending is None:
                now = await asyncio.to_thread(process.cpu_seconds)
                if self._heard:
                    used, self._heard = now, False
                elif now - used >= self.limits.cpu_seconds:
                    return Ending.BUSY_LOOP
                if self.is_idle and time.monotonic() - self.used_at >= self.limits.idle_seconds:
                    return Ending.IDLE
                await asyncio.wait(changes, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for change in changes:
                change.cancel()
        return self.ending or Ending.DIED


def _connected(path: str) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(uds=path, max_connections=_MOST_CONNECTIONS, keepalive_expiry=_KEPT_SECONDS)


def _error_in(said: Iterable[str]) -> str:
    """Return the last error that a process printed, "" when it printed none."""
    return next((line for line in reversed([*said]) if "Uncaught" in line or "rror:" in line), "")[:500]


def _say_end(name: str, ending: Ending, process: WorkerProcess) -> None:
    if ending.is_failure:
        log.warning("a worker ended", worker=name, why=ending.value, said="\n".join(process.said)[-2000:])
    else:
        log.info("a worker ended", worker=name, why=ending.value)
