"""Everything one example of the model runs in: a simulated broker, a real database, processes with their fates."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

import services.dead_letter.sweep
import services.reconciler.ended
import services.reconciler.unshown
import services.reconciler.vanished
import shared.execution
import shared.worker
from services.dead_letter.dead_letter import DeadLetters
from services.dead_letter.sweep import find_stuck
from services.intake.admission import Intake
from services.reconciler.deadlines import end_overdue
from services.reconciler.ended import finish_ended
from services.reconciler.unshown import show_over
from services.reconciler.vanished import reissue_vanished
from shared.adapters.postgres.projections import Projections
from shared.contracts import subjects
from shared.contracts.errors import ZepidError
from shared.contracts.events import Succeeded, WentBack
from shared.contracts.messages import Command
from shared.contracts.outcomes import Back, Done, Outcome, Reject, Retry
from shared.pipeline import BY_NAME
from shared.ports import Fence, Manifest, Ports
from shared.projection import Progress, apply
from shared.resources import Resources
from shared.worker import Worker
from tests.model.broker import AdvisoryDelivery, Broker, Delivery, Message, SimulatedBus
from tests.model.database import SETTINGS, Database
from tests.model.fate import Crash, Fate, MortalDeployments

_IN_SANDBOX = ("sandbox", "sync", "build")
_NEVER, _AT_ONCE = 1000.0, 0.0


@dataclass(frozen=True)
class Plan:
    """What the handler does at one delivery: how it answers, whether it takes long, whether it is stopped in it."""

    answer: str = "done"
    slow: bool = False
    stopped: bool = False


@dataclass
class Process:
    """A process that was killed, is done, or stands still somewhere."""

    name: str
    fate: Fate
    task: asyncio.Task[None]
    worker: Worker | None = None
    deployment_id: str = ""
    lapsed: bool = False

    def lapse(self) -> None:
        """It stood still for longer than the ack wait."""
        self.lapsed = True
        if self.worker is not None:
            for lease in self.worker._running.values():
                lease._until = 0.0


class World:
    """One example."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.broker = Broker(SETTINGS)
        self.broker.on_stop = self._stop
        self.stops_are_heard = True
        self.paused: list[Process] = []
        self.sandboxes: dict[str, Fence] = {}
        self.last_write: tuple[str, list[str]] = ("", [])
        self.defects: list[str] = []
        self.excused = False
        database.run(database.clean())

    # Processes

    def resources(self, fate: Fate) -> Resources:
        bus = SimulatedBus(self.broker, fate, SETTINGS)
        deployments: Any = MortalDeployments(self.database.deployments, fate, self._wrote)
        unused: Any = None
        return Resources(SETTINGS, bus, self.database.pool, deployments, unused, unused, unused)

    def start(self, name: str, work: Callable[[Resources], Awaitable[Any]], fate: Fate) -> Process:
        """Run a process until it is done, dead, or stands still."""

        async def live() -> None:
            await work(self.resources(fate))

        return self._run(Process(name, fate, self.database.loop.create_task(live())))

    def deliver(self, message: Message, plan: Plan, fate: Fate) -> Process | None:
        """Let the broker deliver a command to a worker of its own process."""
        was_in_flight = message.in_flight
        if not self.broker.deliver(message):
            return None
        if was_in_flight:
            self._lapse(message)
        step = subjects.actor_in_command(message.subject)
        deployment_id = subjects.deployment_in_command(message.subject)
        resources = self.resources(fate)
        past = self.past(deployment_id, step)

        async def handle(command: Command, ports: Ports) -> Outcome:
            if not BY_NAME[step].cleans_up and any(epoch >= command.epoch for epoch in past):
                self.defects.append(
                    f"{step} of {deployment_id} had been done in epochs {past}, and is in {command.epoch}"
                )
            return await self._handle(command, ports, plan, fate)

        shared.execution.STARTED_AFTER_SECONDS = _AT_ONCE if plan.slow else _NEVER
        worker = Worker(BY_NAME[step], handle, self._ports(resources), resources.bus, resources.deployments)
        delivery: Any = Delivery(self.broker, fate, message)

        async def begin() -> asyncio.Task[None]:
            worker._begin(delivery)
            return next(iter({**worker._running, **worker._burying}))

        return self._run(Process(step, fate, self.database.run(begin()), worker, deployment_id))

    def resume(self, process: Process) -> None:
        self.paused.remove(process)
        process.fate.resume()
        self._run(process)

    def kill(self, process: Process) -> None:
        process.fate.dead = True
        self.resume(process)

    def hand_back(self, process: Process) -> None:
        """The worker is asked to shut down, and its grace is over."""
        assert process.worker is not None
        process.worker._handing_back = True
        process.task.cancel()
        self.resume(process)

    def _run(self, process: Process) -> Process:
        async def until_quiet() -> None:
            paused = asyncio.ensure_future(process.fate.paused.wait())
            await asyncio.wait({process.task, paused}, return_when=asyncio.FIRST_COMPLETED)
            paused.cancel()
            for _ in range(5):
                await asyncio.sleep(0)

        self.paused.append(process)
        self.database.run(until_quiet())
        self.excused |= process.worker is None and (process.fate.dead or process.fate.paused.is_set())
        self._bury_the_dead()
        return process

    def _bury_the_dead(self) -> None:
        """Whatever a process ends with, but a crash or an outage left to the broker, is a defect."""
        for process in [one for one in self.paused if one.task.done()]:
            self.paused.remove(process)
            error = None if process.task.cancelled() else process.task.exception()
            if error is not None and not isinstance(error, Crash):
                raise error

    def _stop(self, deployment_id: str, code: str) -> None:
        """The request to stop reaches workers that are cut off from nothing."""
        if self.stops_are_heard:
            for process in [one for one in self.paused if one.worker is not None and not one.lapsed]:
                assert process.worker is not None
                if deployment_id in process.worker._stoppable:
                    self.database.loop.create_task(process.worker._stop_one(deployment_id, code))
                    self.database.loop.call_soon(process.fate.resume)

    def _lapse(self, message: Message) -> None:
        """Whoever had the command has it no longer."""
        for process in self.paused:
            if process.deployment_id == subjects.deployment_in_command(message.subject):
                process.lapse()

    def _wrote(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        self.last_write = (name, [row.id for row in result] if name == "admit" else [str(arg) for arg in args[:1]])

    # What steps do

    def _ports(self, resources: Resources) -> Ports:
        unused: Any = None
        return Ports(
            records=resources.deployments,
            objects=unused,
            sandboxes=unused,
            publishers={},
            log=unused,
            settings=SETTINGS,
            fence=Fence(0, 0, 0, 0),
            attempt=0,
        )

    async def _handle(self, command: Command, ports: Ports, plan: Plan, fate: Fate) -> Outcome:
        self._enter_sandbox(command, ports)
        if plan.slow:
            await self._wait_for_started(fate)
        if plan.stopped:
            await fate.stand_still()
            self._enter_sandbox(command, ports)
        failure = ZepidError("STORAGE_READ_FAILED", "it broke on purpose").failure(command.step)
        match plan.answer:
            case "retry":
                return Retry(failure)
            case "reject":
                return Reject(ZepidError("BUILD_COMMAND_FAILED", "the build broke").failure(command.step))
            case "back" if command.step in ("sync", "build"):
                return Back("sandbox", failure)
        if command.step == "cleanup":
            self.sandboxes.pop(command.deployment_id, None)
            await ports.records.free(command.deployment_id)
        if command.step != "deploy":
            return Done(command.work)
        release = await ports.records.insert_release(command.deployment_id, "manifest", Manifest({}))
        if await ports.records.point_to(command.deployment_id, release) != "pointed":
            return Reject(ZepidError("OUTCOME_ALREADY_DECIDED", "the site was not switched").failure("deploy"))
        if plan.answer == "unseen":
            return Retry(failure)
        return Done(msgspec.structs.replace(command.work, release=release, url="http://site"))

    async def _wait_for_started(self, fate: Fate) -> None:
        said = fate.count
        while fate.count == said and not fate.dead:  # noqa: ASYNC110 - the event loop is all there is to wait for
            await asyncio.sleep(0)

    def _enter_sandbox(self, command: Command, ports: Ports) -> None:
        if command.step in _IN_SANDBOX:
            highest = self.sandboxes.get(command.deployment_id, ports.fence)
            if ports.fence < highest:
                raise ZepidError("SANDBOX_FENCED", "a newer attempt has the sandbox")
            self.sandboxes[command.deployment_id] = ports.fence

    # The other services

    async def admit(self, resources: Resources) -> None:
        await Intake(resources.bus, resources.deployments, SETTINGS)._admit()

    async def reconcile(self, resources: Resources) -> None:
        for repair in (end_overdue, finish_ended, reissue_vanished, show_over):
            await repair(resources)

    async def bury_announced(self, resources: Resources) -> None:
        letters = self._dead_letters(resources)
        for data in list(self.broker.advisories):
            fate: Fate = resources.bus.jetstream._fate  # type: ignore[attr-defined]
            delivery: Any = AdvisoryDelivery(self.broker, fate, data)
            await letters._handle(delivery)

    async def sweep(self, resources: Resources) -> None:
        for remains in await find_stuck(resources.bus):
            await self._dead_letters(resources)._give_up(remains)

    def _dead_letters(self, resources: Resources) -> DeadLetters:
        return DeadLetters(resources.bus, resources.deployments, SETTINGS)

    async def project(self, resources: Resources) -> None:
        """What the projector does, without its reader."""
        async with self.database.pool.acquire() as connection:
            projections = Projections(connection)
            position = await projections.position()
            assert position is not None
            events = [(number, event) for number, event in self.broker.journal() if number > position.sequence]
            if not events:
                return
            before: dict[str, Progress] = await projections.load({event.deployment_id for _, event in events})
            now: dict[str, Progress] = dict(before)
            for number, event in events:
                now[event.deployment_id] = apply(now.get(event.deployment_id), event, number)
            changed = {key: (before.get(key), progress) for key, progress in now.items()}
            self.last_write = ("project", [])
            await projections.save(changed, events[-1][0], tell_project=True)

    def crash_database(self) -> bool:
        """Lose the last write if it was one whose commit does not wait for the disk; return whether it was."""
        (write, ids), self.last_write = self.last_write, ("", [])
        return self.database.lose(write, ids)

    # Looking

    def past(self, deployment_id: str, step: str) -> list[int]:
        """In which epochs the journal shows a step as done, or as what went back."""
        return [
            event.epoch
            for _, event in self.broker.journal()
            if isinstance(event, Succeeded | WentBack) and (event.deployment_id, event.actor) == (deployment_id, step)
        ]


def quicken(patch: pytest.MonkeyPatch) -> None:
    """Let the repairs find at once what they otherwise leave alone for some seconds."""
    for module in (services.reconciler.ended, services.reconciler.unshown, services.reconciler.vanished):
        patch.setattr(module, "QUIET_SECONDS", 0.0)
    later = SimpleNamespace(time=lambda: time.time() + 10_000)
    patch.setattr(services.dead_letter.sweep, "time", later)
    patch.setattr(shared.execution, "STARTED_AFTER_SECONDS", _NEVER)
    patch.setattr(shared.worker, "MAX_INTERRUPTIONS", 2)
    patch.setattr(shared.worker, "_REST", 0.0)
