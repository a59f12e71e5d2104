"""Killed processes, a broker and a database that go away: every deployment still ends as it should."""

import asyncio
import os
import signal
from pathlib import Path

import asyncpg
import pytest

from infra.dev.nats import NatsServer
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.ports import Ports
from tests.pipeline import Pipeline, pipeline, settings_for

MANY = 20


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
        await asyncio.sleep(2)
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


async def cut_connections(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()
