"""A step's worker as a process that a test stops and continues, with short leases.

`python -m tests.chaos.stopped build` is the build worker; only timing constants differ from the real one.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

import shared.adapters.jetstream.provision
import shared.adapters.publishers.local
import shared.lease
import shared.worker
from services.steps.loader import create
from shared.adapters.jetstream.bus import decode_event
from shared.contracts.events import Event
from shared.contracts.subjects import EVENT_STREAM, events_of
from shared.resources import Resources
from shared.service import run_alone
from shared.settings import Settings

ACK_WAIT_SECONDS = 3.0
PROBE_SECONDS = 15.0


def shorten_leases(patch: pytest.MonkeyPatch) -> None:
    """Let the broker give a command to another worker after some seconds of silence."""
    for module in (shared.adapters.jetstream.provision, shared.lease):
        patch.setattr(module, "ACK_WAIT_SECONDS", ACK_WAIT_SECONDS)
    patch.setattr(shared.worker, "HEARTBEAT_SECONDS", ACK_WAIT_SECONDS / 3)
    defaults = {"probe_seconds": PROBE_SECONDS}
    patch.setattr(shared.adapters.publishers.local.LocalPublisher.__init__, "__kwdefaults__", defaults)


class StoppedWorker:
    """The process of one step's worker."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def stop(self) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT: it goes on as if no time had passed."""
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        await self._process.wait()

    async def finish(self) -> None:
        """Let it finish what it has, and return when it has ended."""
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await self._process.wait() == 0


@asynccontextmanager
async def stopped_worker(step: str, settings: Settings) -> AsyncIterator[StoppedWorker]:
    """Start the worker of a step; at the end of the block it is gone."""
    given = {name.upper(): str(value) for name, value in msgspec.structs.asdict(settings).items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.stopped", step, env={**os.environ, **given}
    )
    try:
        yield StoppedWorker(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def journal(resources: Resources, deployment_id: str) -> list[Event]:
    """Return all that happened to a deployment, in order."""
    stored = await resources.bus.history(EVENT_STREAM, events_of(deployment_id))
    return [decode_event(each.data) for each in stored]


if __name__ == "__main__":
    shorten_leases(pytest.MonkeyPatch())
    run_alone(sys.argv[1], create(sys.argv[1]))
