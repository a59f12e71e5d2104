"""What killed and stopped workers leave on a host: builds that are cancelled or taken over, sandboxes made too late."""

import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from services.reconciler.orphans import remove_orphans
from services.steps.loader import load_handlers
from services.steps.noop import succeed
from shared import blobs
from shared.adapters.sandboxes.local.files import locked
from shared.adapters.sandboxes.local.processes import Process, identify
from shared.conclusion import conclude, interrupt
from shared.contracts.errors import ZepidError
from shared.contracts.events import Ended, Failed, Succeeded, WentBack
from shared.contracts.messages import BuildPlan, Command
from shared.contracts.outcomes import Done, Outcome
from shared.contracts.subjects import LOG_STREAM, logs_of
from shared.ports import Manifest, Ports
from tests.chaos.stopped import StoppedWorker, journal, shorten_leases, stopped_worker
from tests.e2e.test_survival import all_pids, command_of
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until

CANCELLED_WITHIN = 15.0


class Builds:
    """A pipeline with real sandboxes; the first build of a deployment does not end by itself."""

    def __init__(self, running: Pipeline) -> None:
        self.running = running
        self.resources = running.resources
        self._seconds = f"300.{uuid4().int % 10**15:015}"
        running.handlers = load_handlers() | {"validate": self._plan, "deploy": succeed}

    async def _plan(self, command: Command, ports: Ports) -> Outcome:
        source = await blobs.store_manifest(ports.objects, Manifest({}))
        first = f"touch /cache/begun; trap 'echo last words; exit 1' TERM; echo begun; sleep {self._seconds} & wait"
        line = f"[ -e /cache/begun ] || {{ {first}; }}; mkdir dist && echo page > dist/index.html"
        plan = BuildPlan(manager="none", build=line, output="dist")
        return Done(msgspec.structs.replace(command.work, source=source, plan=plan))

    def without(self, step: str) -> set[str]:
        """All services but this step's worker and the reconciler."""
        return set(self.running.services()) - {step, "reconciler"}

    async def sleeping(self) -> list[Process]:
        """Return the processes of the first build, once they are there."""
        return await until(partial(sleeping, self._seconds))

    def left(self) -> list[str]:
        """What there is below the folder of sandboxes."""
        return [path.name for path in (self.resources.settings.data_path / "sandboxes").glob("*")]

    async def is_freed(self, deployment: str) -> bool:
        """Whether the deployment's slot is free again."""
        return await self.resources.deployments.freed_among([deployment]) == [deployment]


async def sleeping(seconds: str) -> list[Process]:
    """Return the processes that sleep for exactly this long."""
    return [process for pid in all_pids() if command_of(pid) == f"sleep\0{seconds}\0" and (process := identify(pid))]


def probe_lock(data: Path) -> Path | None:
    """The lock of the sandbox with which a worker tries this host before it makes its first one."""
    return next((path / "fence" for path in data.glob("sandboxes/.probe-*")), None)


def alive(processes: list[Process]) -> list[Process]:
    return [process for process in processes if identify(process.pid) == process]


@pytest.fixture
async def builds(
    nats_server: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Builds]:
    shorten_leases(monkeypatch)
    settings = settings_for(nats_server, database_url, tmp_path, sandbox_builder_default_provider="local")
    async with pipeline(settings) as running:
        yield Builds(running)


async def told(worker: StoppedWorker) -> None:
    """The worker lives, and hears of the request to stop."""


async def stopped(worker: StoppedWorker) -> None:
    worker.stop()


async def killed(worker: StoppedWorker) -> None:
    await worker.kill()


@pytest.mark.parametrize("fate", [told, stopped, killed])
async def test_a_cancelled_build_is_proven_dead_whatever_became_of_its_worker(fate: object, builds: Builds) -> None:
    builds.running.start(builds.without("build"))
    async with stopped_worker("build", builds.resources.settings) as worker:
        deployment = await builds.running.request()
        processes = await builds.sleeping()
        assert await remove_orphans(builds.resources) == []
        assert alive(processes) == processes
        await fate(worker)  # type: ignore[operator]
        began = time.monotonic()
        failure = ZepidError("CANCELLED", "cancelled by the test").failure("build")
        await interrupt(builds.resources.deployments, builds.resources.bus, "gateway", deployment, "cancelled", failure)
        await until(partial(builds.is_freed, deployment))
        assert alive(processes) == []
        assert time.monotonic() - began < CANCELLED_WITHIN
        assert (await builds.running.finished(deployment)).outcome == "cancelled"
        if fate is stopped:
            worker.wake()
            await worker.finish()
    assert builds.left() == []
    assert await builds.running.outcome(deployment) == "cancelled"
    if fate is told:
        log = b"".join(each.data for each in await builds.resources.bus.history(LOG_STREAM, logs_of(deployment)))
        assert b"last words" in log


async def test_a_build_whose_worker_is_stopped_is_taken_over_and_completes_once(builds: Builds) -> None:
    builds.running.start(builds.without("build"))
    another = Pipeline(builds.resources)
    another.handlers = builds.running.handlers
    try:
        async with stopped_worker("build", builds.resources.settings) as worker:
            deployment = await builds.running.request()
            processes = await builds.sleeping()
            worker.stop()
            another.start({"build"})
            assert (await builds.running.finished(deployment)).outcome == "completed"
            assert alive(processes) == []
            worker.wake()
            await worker.finish()
    finally:
        await another.stop()
    events = await journal(builds.resources, deployment)
    assert [event.outcome for event in events if isinstance(event, Ended)] == ["completed"]
    assert [event.actor for event in events if isinstance(event, Succeeded)].count("build") == 1
    assert not [event for event in events if isinstance(event, Failed | WentBack)]
    assert builds.left() == []


async def test_a_sandbox_made_after_its_deployment_was_cleaned_up_is_removed(builds: Builds) -> None:
    builds.running.start(builds.without("sandbox"))
    resources = builds.resources
    async with stopped_worker("sandbox", resources.settings) as worker:
        deployment = await builds.running.request()

        async def is_trying() -> Path | None:
            return probe_lock(resources.settings.data_path)

        with locked(await until(is_trying)):
            worker.stop()
            failure = ZepidError("DEPLOYMENT_TIMEOUT", "ended by the test").failure("sandbox")
            await conclude(resources.deployments, resources.bus, "reconciler", deployment, "failed", failure)
            await until(partial(builds.is_freed, deployment))
            assert deployment not in builds.left()
        worker.wake()

        async def is_made() -> bool:
            return deployment in builds.left()

        await until(is_made)
        assert deployment in await remove_orphans(resources)
        await worker.finish()
    assert builds.left() == []
    events = await journal(resources, deployment)
    assert [event.outcome for event in events if isinstance(event, Ended)] == ["failed"]
    assert await builds.running.outcome(deployment) == "failed"
