"""A cluster of three brokers loses the leader of the queue twice in mid-load: nothing is lost, work goes on soon."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from nats.errors import Error as BrokerError

from infra.dev.data_dir import HOST, port_for
from infra.dev.nats import NatsServer
from shared.adapters.jetstream.bus import decode_event
from shared.contracts.events import Ended
from shared.contracts.subjects import EVENT_STREAM
from shared.settings import Settings
from shared.telemetry import log
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until

DEPLOYMENTS = 200
PACE_SECONDS = 0.15
KILLS_AFTER = (50, 125)
RESTARTED_AFTER_SECONDS = 4.0
LONGEST_GAP_SECONDS = 15.0
ALL_ENDED_ENDS = "deployment.event.*.*.ended"


class Node(NatsServer):
    """One broker of a cluster; keeps its name, by which the others know its data."""

    def __init__(self, folder: Path, routes: list[int], number: int) -> None:
        super().__init__(folder / f"node-{number}", durable=False)
        self._routes = routes
        self.server_name = f"node-{number}"
        self._route = routes[number]

    @property
    def password(self) -> str:
        """One for the whole cluster."""
        return "cluster"

    def _choose_name(self) -> str:
        return self.server_name

    def _configuration(self) -> dict[str, object]:
        cluster = {
            "name": "zepid",
            "listen": f"{HOST}:{self._route}",
            "routes": [f"nats://{HOST}:{port}" for port in self._routes],
        }
        return {**super()._configuration(), "cluster": cluster}


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[dict[str, Node]]:
    """Three brokers, by name; as soon as they listen, whether or not they have a leader."""
    routes = [port_for(f"route-{number}", folder, 0) for number in range(3)]
    nodes = [Node(folder, routes, number) for number in range(3)]
    async with AsyncExitStack() as exits:
        for node in nodes:
            exits.push_async_callback(node.stop)
        await asyncio.gather(*(node.start() for node in nodes))
        yield {node.server_name: node for node in nodes}


@asynccontextmanager
async def workers(settings: Settings, folder: Path, count: int) -> AsyncIterator[None]:
    """Processes that run every service with steps that do nothing, all started at once."""
    processes = []
    try:
        for number in range(count):
            port = port_for(f"gateway-{number}", folder, 0)
            environ = {"PATH": os.environ["PATH"], **settings.as_environ(), "PORT": str(port), "LOG_LEVEL": "info"}
            with (folder / f"worker-{number}.log").open("wb") as output:
                processes.append(
                    await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "services.cli.benches.noop_stack", env=environ, stderr=output
                    )
                )
        yield
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        async with asyncio.timeout(30):
            await asyncio.gather(*(process.wait() for process in processes))


async def leader_of_the_queue(running: Pipeline) -> str:
    """Return the name of the server that leads the queue's stream."""

    async def leader() -> str | None:
        try:
            info = await running.resources.bus.jetstream.stream_info(running.resources.settings.deployment_queue_name)
        except (BrokerError, TimeoutError):
            return None
        return info.cluster.leader if info.cluster else None

    return str(await until(leader))


async def kill_the_leader(running: Pipeline, nodes: dict[str, Node]) -> None:
    """Kill it, and start it again some seconds later."""
    node = nodes[await leader_of_the_queue(running)]
    os.kill(node.pid, signal.SIGKILL)
    await asyncio.sleep(RESTARTED_AFTER_SECONDS)
    await node.start()


async def ends(running: Pipeline) -> list[Ended]:
    """Return every `ended` event of the journal, oldest first."""
    stored = await running.resources.bus.history(EVENT_STREAM, ALL_ENDED_ENDS)
    return sorted(
        (event for message in stored if isinstance(event := decode_event(message.data), Ended)),
        key=lambda event: event.at,
    )


async def test_the_leader_of_the_queue_is_killed_twice(
    database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gap = await longest_gap(database_url, tmp_path_factory.mktemp("first"))
    if gap > LONGEST_GAP_SECONDS:  # what else the machine does may lengthen an election; it does not do so twice
        gap = await longest_gap(database_url, tmp_path_factory.mktemp("second"))
    assert gap <= LONGEST_GAP_SECONDS


async def longest_gap(database_url: str, folder: Path) -> float:
    """Kill the leader twice during deployments that must all complete; return the most seconds in which none ended."""
    async with cluster(folder) as nodes:
        urls = ",".join(node.url for node in nodes.values())
        settings = settings_for(
            urls,
            database_url,
            folder,
            stream_replicas=3,
            max_concurrent_deployments=50,
            max_concurrent_per_organization=50,
        )
        async with workers(settings, folder, 2), pipeline(settings) as running:
            ids, faults = [], []
            for number in range(DEPLOYMENTS):
                if number in KILLS_AFTER:
                    faults.append(asyncio.create_task(kill_the_leader(running, nodes)))
                ids.append(await running.request())
                await asyncio.sleep(PACE_SECONDS)
            await asyncio.gather(*faults)
            await asyncio.gather(*(running.finished(deployment_id, 60) for deployment_id in ids))
            happened = await ends(running)
    assert sorted(event.deployment_id for event in happened) == sorted(ids)
    assert {event.outcome for event in happened} == {"completed"}
    gap = max(after.at - before.at for before, after in pairwise(happened))
    log.info("longest time in which no deployment ended", seconds=round(gap, 1))
    return gap
