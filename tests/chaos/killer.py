"""A step's worker that kills itself with SIGKILL where a plan says so, and afterwards works as usual.

`python -m tests.chaos.killer up …` is `zepid up …` whose steps are such workers; with the name of a
step it is that worker. The environment variable KILL_PLAN names the file of the plan.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from nats.aio.msg import Msg

from services.cli import catalog
from services.steps import loader
from services.steps.noop import noop_handlers
from shared import lease, worker
from shared.adapters.jetstream import provision
from shared.contracts import subjects
from shared.contracts.events import Ended, Event, Started, Succeeded
from shared.contracts.messages import Command
from shared.contracts.outcomes import Outcome
from shared.pipeline import BY_NAME, ORDER
from shared.ports import Ports
from shared.resources import Resources
from shared.service import Create, Service, run_alone
from shared.worker import Worker
from tests.waiting import until

PLAN = "KILL_PLAN"
NOOP = "NOOP_STEPS"
"""Environment variable: set when the steps are to do nothing."""
ACK_WAIT = "ACK_WAIT"
"""Environment variable: seconds of the ack wait, where the usual one is too long for the test."""

WORKING = "while the handler works"
WORKED = "when the handler has done its work and nothing is published"
DECIDED = "when the outcome is decided and not announced"
ANNOUNCED = "when the event is published and the next command is not"
PUBLISHED = "when everything is published and the command is not acknowledged"
_OTHERS_SECONDS = 90.0
INSIDE_SECONDS = 1.0
"""How long a build runs until its worker is killed."""


class Case(msgspec.Struct, frozen=True):
    """Where the worker of a step is to die, and how often."""

    step: str
    point: str
    times: int = 1


class Plan:
    """The cases by project, and how often each step's worker has died for them."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, cases: dict[str, Case]) -> None:
        self._file.write_bytes(msgspec.json.encode(cases))

    def cases(self) -> dict[str, Case]:
        return msgspec.json.decode(self._file.read_bytes(), type=dict[str, Case]) if self._file.exists() else {}

    def left(self, step: str) -> dict[str, Case]:
        """The cases for which the worker of a step has still to die."""
        dead = len(self.deaths(step))
        return {project: case for project, case in self.cases().items() if case.step == step and case.times > dead}

    def beyond(self, step: str) -> set[str]:
        """The projects whose case is at a later step; they come by without being held up before."""
        return {project for project, case in self.cases().items() if ORDER[case.step] > ORDER[step]}

    def deaths(self, step: str) -> list[float]:
        """When the worker of a step died, in seconds since 1970."""
        file = self._deaths(step)
        return [float(line) for line in file.read_text().splitlines()] if file.exists() else []

    def die(self, step: str) -> None:
        with self._deaths(step).open("a") as file:
            file.write(f"{time.time()}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def _deaths(self, step: str) -> Path:
        return self._file.with_name(f"{self._file.name}.{step}")


class Killer:
    """Stops the deployments of its step's cases, each at its point; when all are there it kills the process."""

    def __init__(self, plan: Plan, step: str, worker: Worker, resources: Resources) -> None:
        self._plan = plan
        self._step = step
        self._worker = worker
        self._bus = resources.bus
        self._handle = worker._execution._handle
        self._points: dict[str, str] = {}
        self._succeeded: dict[str, asyncio.Event] = {}
        self._seen: set[str] = set()
        self._there = 0

    def arm(self) -> None:
        """Put itself between the worker, its handler, the broker and the acknowledgements."""
        send, record, acknowledge = self._bus.send, self._bus.record, self._bus.acknowledge

        async def sending(command: Command, traceparent: str) -> None:
            if self._is_at(command.deployment_id, ANNOUNCED):
                if not BY_NAME[self._step].concludes:
                    await self._succeeded[command.deployment_id].wait()
                await self._wait_to_die()
            await send(command, traceparent)

        async def recording(event: Event, traceparent: str, copy: str = "") -> None:
            if isinstance(event, Ended) and self._is_at(event.deployment_id, DECIDED):
                await self._wait_to_die()
            await record(event, traceparent, copy)
            if isinstance(event, Succeeded) and event.deployment_id in self._succeeded:
                self._succeeded[event.deployment_id].set()

        async def acknowledging(message: Msg) -> None:
            if self._is_at(subjects.deployment_in_command(message.subject), PUBLISHED):
                await self._wait_to_die()
            await acknowledge(message)

        self._replace(self._bus, "send", sending)
        self._replace(self._bus, "record", recording)
        self._replace(self._bus, "acknowledge", acknowledging)
        self._replace(self._worker._execution, "_handle", self._handling)

    def _replace(self, owner: object, name: str, by: Callable[..., Awaitable[Any]]) -> None:
        setattr(owner, name, by)

    async def _handling(self, command: Command, ports: Ports) -> Outcome:
        self._seen.add(command.project_id)
        case = self._plan.left(self._step).get(command.project_id)
        if case is None:
            return await self._handle(command, ports)
        self._points[command.deployment_id] = case.point
        self._succeeded[command.deployment_id] = asyncio.Event()
        if case.point not in (WORKING, WORKED):
            return await self._handle(command, ports)
        await until(partial(self._is_started, command, ports.attempt), _OTHERS_SECONDS)
        working = asyncio.ensure_future(self._handle(command, ports)) if self._works(case) else None
        if working:
            await asyncio.wait({working}, timeout=INSIDE_SECONDS if case.point == WORKING else None)
        await self._wait_to_die()
        raise AssertionError("still alive")

    def _works(self, case: Case) -> bool:
        """A quick step is not begun, for it could not be met while it works."""
        return case.point == WORKED or case.step == "build"

    async def _is_started(self, command: Command, attempt: int) -> bool:
        """Whether the journal tells of this attempt, so that it counts as one."""
        return any(
            isinstance(event, Started) and event.attempt == attempt
            for event in await self._bus.latest(command, Started)
        )

    def _is_at(self, deployment_id: str, point: str) -> bool:
        return self._points.get(deployment_id) == point

    async def _wait_to_die(self) -> None:
        """Wait until all are there, and all who come by have passed, then die."""
        self._there += 1
        await until(self._all_are_there, _OTHERS_SECONDS)
        self._plan.die(self._step)

    async def _all_are_there(self) -> bool:
        are_there = len(self._plan.left(self._step)) == self._there == len(self._worker._running)
        return are_there and self._plan.beyond(self._step) <= self._seen


def shorten_ack_wait(replace: Callable[[object, str, float], None] = setattr) -> None:
    """Let the broker, leases and heartbeats of this process go by the ack wait of the environment."""
    if ACK_WAIT in os.environ:
        seconds = float(os.environ[ACK_WAIT])
        replace(provision, "ACK_WAIT_SECONDS", seconds)
        replace(lease, "ACK_WAIT_SECONDS", seconds)
        replace(worker, "HEARTBEAT_SECONDS", seconds / 3)


def create(step: str) -> Create:
    """Return what makes the killer's worker of a step."""

    def create_worker(resources: Resources) -> Service:
        made: Service
        if NOOP in os.environ:
            ports = loader.open_ports(resources)
            made = Worker(BY_NAME[step], noop_handlers()[step], ports, resources.bus, resources.deployments)
        else:
            made = loader.create(step)(resources)
        assert isinstance(made, Worker)
        Killer(Plan(Path(os.environ[PLAN])), step, made, resources).arm()
        return made

    return create_worker


def command_line(name: str) -> list[str]:
    """Return the command of a service, a killer's for a step."""
    usual = catalog.command_line(name)
    return [sys.executable, "-m", "tests.chaos.killer", name] if name in BY_NAME else usual


def main() -> None:
    if sys.argv[1] in BY_NAME:
        shorten_ack_wait()
        run_alone(sys.argv[1], create(sys.argv[1]))
        return
    from services.cli import processes
    from services.cli.main import main as zepid

    processes.command_line = command_line
    zepid()


if __name__ == "__main__":
    main()
