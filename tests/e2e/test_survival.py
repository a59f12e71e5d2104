"""Killed processes, a broker and a database that go away: every deployment still ends as it should."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from infra.dev.nats import NatsServer
from shared.adapters.sandboxes.local.processes import Process, identify
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.contracts.subjects import EVENT_STREAM
from shared.ports import Ports
from tests.e2e.apps import write
from tests.live import Deployed, LiveStack, live_stack
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until

MANY = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveStack]:
    """`zepid up --processes`."""
    async with live_stack(tmp_path_factory.mktemp("processes"), "--processes") as stack:
        yield stack


class SlowBuild:
    """An app without dependencies whose build takes some seconds, and is known among all processes."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._marker = uuid4().hex
        script = f"setTimeout(() => require('fs').cpSync('index.html', 'dist/index.html'), {seconds * 1000:.0f})"
        package = {"name": "slow", "scripts": {"build": f'node -e "{script}" {self._marker}'}}
        self.folder = write(
            {"package.json": msgspec.json.encode(package), "index.html": b"<p>slow</p>"}, folder / "app"
        )

    async def running(self) -> list[Process]:
        """Return its processes once it runs."""
        return await until(self._processes)

    async def _processes(self) -> list[Process]:
        return [process for pid in all_pids() if self._marker in command_of(pid) and (process := identify(pid))]


def all_pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def tree_of(pid: int) -> list[Process]:
    """A process and all that descend from it."""
    found = [process for process in [identify(pid)] if process]
    for process in found:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        except OSError:
            continue
        found += [child for number in children if (child := identify(int(number)))]
    return found


async def gone(processes: list[Process], within: float) -> None:
    async def are_gone() -> bool:
        return not any(identify(process.pid) == process for process in processes)

    try:
        await until(are_gone, within)
    except TimeoutError:
        left = [command_of(process.pid) for process in processes if identify(process.pid) == process]
        raise AssertionError(f"still running: {left}") from None


async def status_of(stack: LiveStack, deployed: Deployed) -> dict[str, object]:
    answer = await stack.get(f"/deploy/{deployed.result['deploymentId']}/status")
    return answer.json()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_build_process_costs_an_attempt_and_nothing_else(processes: LiveStack, tmp_path: Path) -> None:
    app = SlowBuild(tmp_path, seconds=3)
    deploying = asyncio.create_task(processes.deploy(app.folder))
    build = await app.running()
    worker = processes.pid_of("build")
    tree = tree_of(worker)
    assert {process.pid for process in build} <= {process.pid for process in tree}
    os.kill(worker, signal.SIGKILL)
    await gone(tree, within=5)
    deployed = await deploying
    assert deployed.result["status"] == "completed", deployed.result
    status = await status_of(processes, deployed)
    assert {name: step["attempts"] for name, step in status["steps"].items()} == {
        "validate": 1, "sandbox": 1, "sync": 1, "build": 2, "deploy": 1, "cleanup": 1,
    }  # fmt: skip
    assert processes.pid_of("build") != worker
    assert (await processes.get(status["workerUrl"])).text == "<p>slow</p>"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_terminated_build_process_hands_its_work_back_at_once(processes: LiveStack, tmp_path: Path) -> None:
    app = SlowBuild(tmp_path, seconds=7)
    deploying = asyncio.create_task(processes.deploy(app.folder))
    build = await app.running()
    worker = processes.pid_of("build")
    tree = tree_of(worker)
    os.kill(worker, signal.SIGTERM)
    await gone([*tree, *build], within=8)
    async with asyncio.timeout(16):
        deployed = await deploying
    status = await status_of(processes, deployed)
    assert (status["status"], status["steps"]["build"]["attempts"]) == ("completed", 2)


async def test_a_deployment_outlives_the_whole_stack_being_killed(tmp_path: Path) -> None:
    app = SlowBuild(tmp_path, seconds=3)
    async with live_stack(tmp_path / "data") as stack:
        deploying = asyncio.create_task(stack.deploy(app.folder))
        build = await app.running()
        tree = tree_of(stack.pid)
        assert {process.pid for process in build} <= {process.pid for process in tree}
        await stack.kill()
        await gone(tree, within=10)
        await stack.start()
        deployed = await deploying
        assert deployed.result["status"] == "completed", deployed.result
        status = await status_of(stack, deployed)
        assert status["steps"]["build"]["attempts"] == 2
        assert (await stack.get(status["workerUrl"])).text == "<p>slow</p>"


class Midway:
    """A build step that does nothing, and tells when half of the deployments came to it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._seen: set[str] = set()

    async def __call__(self, command: Command, ports: Ports) -> Outcome:
        self._seen.add(command.deployment_id)
        if len(self._seen) >= MANY // 2:
            self.reached.set()
        return Done(command.work)


async def all_complete(running: Pipeline, ids: list[str], within: float) -> None:
    async with asyncio.timeout(within):
        ended = await asyncio.gather(*(running.finished(deployment_id, within) for deployment_id in ids))
    assert [progress.outcome for progress in ended] == ["completed"] * len(ids)


async def test_deployments_outlive_a_broker_that_is_killed(
    nats_process: NatsServer, database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_process.url, database_url, tmp_path, max_concurrent_deployments=MANY)
    async with pipeline(settings) as running:
        running.handlers["build"] = midway = Midway()
        running.start()
        ids = [await running.request() for _ in range(MANY)]
        await asyncio.wait_for(midway.reached.wait(), 20)
        os.kill(nats_process.pid, signal.SIGKILL)
        await until(partial(is_away, running))
        await nats_process.start()
        await all_complete(running, ids, within=60)


async def test_deployments_outlive_a_database_that_cuts_every_connection(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, database_url, tmp_path, max_concurrent_deployments=MANY)
    async with pipeline(settings) as running:
        running.handlers["build"] = midway = Midway()
        running.start()
        ids = [await running.request() for _ in range(MANY)]
        await asyncio.wait_for(midway.reached.wait(), 20)
        await cut_connections(database_url)
        await all_complete(running, ids, within=60)


async def test_events_lost_on_the_way_to_the_projector_are_read_again(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with pipeline(settings_for(nats_server, database_url, tmp_path)) as running:
        running.start()
        await running.finished(await running.request())
        thief = await running.resources.bus.client.subscribe("stolen")
        await running.resources.bus.client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{EVENT_STREAM}.projector", b'{"batch": 5}', reply="stolen"
        )
        ids = [await running.request() for _ in range(3)]
        assert (await thief.next_msg(10)).subject.startswith("deployment.event.")
        await all_complete(running, ids, within=30)


async def is_away(running: Pipeline) -> bool:
    return not running.resources.bus.client.is_connected


async def cut_connections(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()
