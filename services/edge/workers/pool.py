"""The Workers that run on this edge: started on demand, few at a time, at rest after failures."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from services.edge.answers import Answer
from services.edge.releases import Release
from services.edge.request import Request
from services.edge.workers.bindings import Bindings
from services.edge.workers.forwarding import forward
from services.edge.workers.worker import Limits, Worker
from shared.adapters.sandboxes.local.host import this_host
from shared.adapters.workerd.config import configure
from shared.adapters.workerd.process import WorkerProcess, launched
from shared.adapters.workerd.runtime import NEWEST_DATE, Runtime
from shared.contracts.errors import ZepidError
from shared.ports import Objects
from shared.settings import Settings

_PATIENCE = 3
"""Failures in a row after which a Worker rests before it is started again."""
_LONGEST_REST_SECONDS = 60.0

VariablesOf = Callable[[str], Awaitable[dict[str, str]]]


class Workers:
    """The processes, by release.

    Args:
        settings: the limits, and the data folder.
        objects: the bucket of artifacts.
        variables: returns the variables that were frozen with a release.
        bindings: what Workers ask of the edge.
    """

    def __init__(self, settings: Settings, objects: Objects, variables: VariablesOf, bindings: Bindings) -> None:
        self._host = this_host(settings.data_path)
        self._runtime = Runtime(settings.data_path)
        self._objects = objects
        self._variables = variables
        self._bindings = bindings
        self._limits = Limits(settings.worker_idle_seconds, settings.worker_cpu_seconds)
        self._most = settings.workers_at_once
        self._most_of_one = settings.workers_per_organization
        self._running: dict[str, Worker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: dict[str, _Failures] = {}

    async def answer(self, release: Release, request: Request) -> Answer:
        """Let the release's Worker answer.

        Raises:
            ZepidError: WORKER_BUSY, WORKER_FAILED, WORKER_TIMEOUT.
            ClientGone: nobody waits for the answer any more.
        """
        return await forward(self._worker(release), request)

    async def close(self) -> None:
        """End all processes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._bindings.close()

    def _worker(self, release: Release) -> Worker:
        worker = self._running.get(release.id)
        if worker is not None and worker.ending is None:
            return worker
        if rest := self._rest_seconds(release.id):
            last = self._failures[release.id].last
            message = f"{last.message}; it has failed too often and rests for {rest:.0f} s"
            raise ZepidError("WORKER_FAILED", message, excerpt=last.excerpt, retry_after=round(rest) + 1)
        self._make_room(release.organization_id)
        launch = partial(self._launched, release)
        worker = Worker(f"{release.site} {release.id}", release.organization_id, launch, self._limits)
        self._running[release.id] = worker
        task = asyncio.create_task(self._run(release.id, worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return worker

    def _make_room(self, organization_id: str) -> None:
        """Retire Workers so that there is room for one more of the organisation, first among its own."""
        alive = [worker for worker in self._running.values() if worker.ending is None]
        own = [worker for worker in alive if worker.organization_id == organization_id]
        if len(own) >= self._most_of_one:
            _retire_one(own, f"all {self._most_of_one} Workers that the organisation may run here are at work")
        elif len(alive) >= self._most:
            _retire_one(alive, f"all {self._most} Workers that may run here are at work")

    async def _run(self, release_id: str, worker: Worker) -> None:
        await worker.run()
        if self._running.get(release_id) is worker:
            del self._running[release_id]
        if worker.ending is not None and worker.ending.is_failure:
            self._forget_failures()
            before = self._failures.pop(release_id, None)
            self._failures[release_id] = _Failures(before.count + 1 if before else 1, time.monotonic(), worker.error)
        else:
            self._failures.pop(release_id, None)

    def _rest_seconds(self, release_id: str) -> float:
        failures = self._failures.get(release_id)
        return max(0.0, failures.at + failures.rest_seconds - time.monotonic()) if failures else 0.0

    def _forget_failures(self) -> None:
        longest = time.monotonic() - 2 * _LONGEST_REST_SECONDS
        for release_id in [release_id for release_id, failures in self._failures.items() if failures.at < longest]:
            del self._failures[release_id]

    @asynccontextmanager
    async def _launched(self, release: Release) -> AsyncIterator[WorkerProcess]:
        await self._runtime.provide()
        variables = await self._variables(release.id)
        token = secrets.token_urlsafe(16)
        configuration = configure(release.hosting, variables, token, NEWEST_DATE)
        place = await self._bindings.place()
        folder = place / f"{release.id}-{uuid4().hex[:8]}"
        async with (
            self._bindings.known(token, release),
            launched(self._host, folder, place / "edge", configuration, self._objects) as process,
        ):
            yield process


def _retire_one(workers: list[Worker], refusal: str) -> None:
    """Retire the Worker that has waited longest for a request; raises WORKER_BUSY where all have one."""
    idle = [worker for worker in workers if worker.is_idle]
    if not idle:
        raise ZepidError("WORKER_BUSY", refusal, retry_after=2)
    min(idle, key=lambda worker: worker.used_at).retire()


@dataclass(frozen=True, slots=True)
class _Failures:
    """How often a Worker has failed in a row, when it last did, by the monotonic clock, and how."""

    count: int
    at: float
    last: ZepidError

    @property
    def rest_seconds(self) -> float:
        """How long it then rests."""
        return min(_LONGEST_REST_SECONDS, 2.0 ** (self.count - _PATIENCE)) if self.count >= _PATIENCE else 0.0
