"""Broker, database and object store go away and come back: callers are answered, and nothing is lost."""

import asyncio
import os
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from moto.server import ThreadedMotoServer

from infra.dev.data_dir import HOST, port_for
from infra.dev.nats import NatsServer
from infra.dev.postgres import PostgresServer
from infra.dev.server import Server
from shared.adapters.objects import ARTIFACTS, LOGS
from shared.adapters.postgres.migrate import migrate
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.ports import Ports
from tests.e2e.test_life_cycle import Caller, served
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until

FEW = 10
AT_ONCE = 30
AWAY_SECONDS = 4.0
STORM_SECONDS = 30.0
STORM_PAUSE_SECONDS = 2.0
STORM_REQUESTS_EVERY_SECONDS = 0.4
WITHIN_SECONDS = 90.0
PROMPT_SECONDS = 2.0


@pytest_asyncio.fixture
async def postgres_process(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """A database server of the test's own that may be killed: what it acknowledged is on the disk."""
    server = PostgresServer(tmp_path / "database")
    await server.start()
    try:
        await migrate(server.url)
        yield server
    finally:
        await server.stop()


class ObjectStore:
    """An S3 server that can be stopped and started; it keeps its objects."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: ThreadedMotoServer | None = None
        self.url = f"s3://?endpoint=http://{HOST}:{port}&access_key_id=t&secret_access_key=t&region=us-east-1"

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address=HOST, port=self._port, verbose=False)
        self._server.start()
        for bucket in (ARTIFACTS, LOGS):
            request = urllib.request.Request(f"http://{HOST}:{self._port}/{bucket}", method="PUT")
            urllib.request.urlopen(request).close()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


@pytest.fixture
def object_store(tmp_path: Path) -> Iterator[ObjectStore]:
    store = ObjectStore(port_for("objects", tmp_path, 0))
    store.start()
    try:
        yield store
    finally:
        store.stop()


async def asks_the_database(command: Command, ports: Ports) -> Outcome:
    await ports.records.deployment(command.deployment_id)
    return Done(command.work)


async def asks_the_object_store(command: Command, ports: Ports) -> Outcome:
    await ports.objects.put(command.deployment_id, b"synced")
    return Done(command.work)


async def takes_a_moment(command: Command, ports: Ports) -> Outcome:
    await asyncio.sleep(0.3)
    return Done(command.work)


@asynccontextmanager
async def stack(
    nats_url: str, postgres_url: str, folder: Path, **overrides: object
) -> AsyncIterator[tuple[Pipeline, Caller]]:
    """A pipeline whose steps use what they depend on and take a moment, and a gateway in front of it."""
    settings = settings_for(
        nats_url,
        postgres_url,
        folder,
        port=port_for("gateway", folder, 0),
        max_concurrent_deployments=AT_ONCE,
        max_waiting_per_organization=1_000,
        **overrides,
    )
    async with pipeline(settings) as running, served(running) as caller:
        running.handlers |= {
            "validate": asks_the_database,
            "sandbox": takes_a_moment,
            "sync": asks_the_object_store,
            "build": takes_a_moment,
        }
        running.start()
        yield running, caller


async def kill(server: Server) -> None:
    os.kill(server.pid, signal.SIGKILL)


async def prompt(answer: Awaitable[httpx.Response]) -> httpx.Response:
    """The answer, which must not keep the caller waiting."""
    async with asyncio.timeout(PROMPT_SECONDS):
        return await answer


async def all_completed(running: Pipeline, ids: list[str]) -> None:
    ended = await asyncio.gather(*(running.finished(deployment_id, WITHIN_SECONDS) for deployment_id in ids))
    assert [progress.outcome for progress in ended] == ["completed"] * len(ids)

    async def all_freed() -> bool:
        return not await running.resources.pool.fetchval("select count(*) from deployment where freed_at is null")

    await until(all_freed, WITHIN_SECONDS)


async def attempts(running: Pipeline) -> set[int]:
    """How many attempts steps took, over all deployments."""
    rows = await running.resources.pool.fetch("select distinct attempts from deployment_step")
    return {row["attempts"] for row in rows}


async def test_without_a_broker_deployments_are_recorded_and_run_when_it_returns(
    nats_process: NatsServer, database_url: str, tmp_path: Path
) -> None:
    async with stack(nats_process.url, database_url, tmp_path) as (running, caller):
        projects = [await running.project() for _ in range(FEW)]
        before = [await caller.deploy(project_id) for project_id in projects[: FEW // 2]]
        await kill(nats_process)
        during = []
        for project_id in projects[FEW // 2 :]:
            order = {"projectId": project_id, "orgId": "org", "userId": "u"}
            answer = await prompt(caller.client.post("/deploy", json=order))
            assert answer.status_code == 200, answer.text
            during.append(answer.json()["deploymentId"])
            status = await prompt(caller.client.get(f"/deploy/{during[-1]}/status"))
            assert (status.status_code, status.json()["status"]) == (200, "pending")
        await asyncio.sleep(AWAY_SECONDS)
        await nats_process.start()
        await all_completed(running, [*before, *during])


async def test_without_a_database_callers_are_told_when_to_try_again_and_workers_wait(
    nats_server: str, postgres_process: PostgresServer, tmp_path: Path
) -> None:
    async with stack(nats_server, postgres_process.url, tmp_path) as (running, caller):
        projects = [await running.project() for _ in range(FEW)]
        ids = [await caller.deploy(project_id) for project_id in projects]
        await until(lambda: anything_runs(running))
        await postgres_process.stop()
        order = {"projectId": projects[0], "orgId": "org", "userId": "u"}
        for ask in (
            lambda: caller.client.post("/deploy", json=order),
            lambda: caller.client.get(f"/deploy/{ids[0]}/status"),
        ):
            answer = await prompt(ask())
            assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
            assert int(answer.headers["Retry-After"]) > 0
        await asyncio.sleep(AWAY_SECONDS)
        await postgres_process.start()
        await all_completed(running, ids)
        assert await attempts(running) == {1}


async def anything_runs(running: Pipeline) -> bool:
    return bool(await running.resources.pool.fetchval("select count(*) from deployment where admitted_at is not null"))


async def test_deployments_outlive_restarts_of_broker_and_database_every_few_seconds(
    nats_process: NatsServer, postgres_process: PostgresServer, tmp_path: Path
) -> None:
    async with stack(nats_process.url, postgres_process.url, tmp_path) as (running, caller):
        projects = [await running.project() for _ in range(round(STORM_SECONDS / STORM_REQUESTS_EVERY_SECONDS))]
        storm = asyncio.create_task(restart_again_and_again([nats_process, postgres_process]))
        requests = []
        for project_id in projects:
            requests.append(asyncio.create_task(insistently(caller, project_id)))
            await asyncio.sleep(STORM_REQUESTS_EVERY_SECONDS)
        await storm
        await all_completed(running, await asyncio.gather(*requests))


async def restart_again_and_again(servers: list[Server]) -> None:
    """Kill the servers in turn, and start them again."""
    until_then = time.monotonic() + STORM_SECONDS
    while time.monotonic() < until_then:
        for server in servers:
            await asyncio.sleep(STORM_PAUSE_SECONDS)
            await kill(server)
            await server.start()


async def insistently(caller: Caller, project_id: str) -> str:
    """Ask for a deployment until it is accepted, as a client does that is told to try again."""
    order = {"projectId": project_id, "orgId": "org", "userId": "u"}
    while True:
        answer = await caller.client.post("/deploy", json=order)
        if answer.status_code in (200, 409):
            return str(answer.json()["deploymentId"])
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(float(answer.headers["Retry-After"]))


async def test_steps_that_find_no_object_store_are_tried_again(
    nats_server: str, database_url: str, tmp_path: Path, object_store: ObjectStore
) -> None:
    async with stack(nats_server, database_url, tmp_path, object_store_url=object_store.url) as (running, caller):
        object_store.stop()
        ids = [await caller.deploy(await running.project()) for _ in range(FEW)]
        await until(lambda: anything_failed(running))
        object_store.start()
        await all_completed(running, ids)
        assert max(await attempts(running)) > 1


async def anything_failed(running: Pipeline) -> bool:
    return bool(await running.resources.pool.fetchval("select count(*) from deployment_step where attempts > 1"))
