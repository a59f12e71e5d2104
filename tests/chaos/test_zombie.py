"""Workers that are stopped for longer than their lease and then go on: what they bring late changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

import msgspec
import pytest

from services.steps.deploy.handler import handle as deploy
from shared import blobs
from shared.conclusion import conclude, interrupt
from shared.contracts.errors import ZepidError
from shared.contracts.events import Ended, Refused
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.ports import Entry, Manifest, Ports
from tests.chaos.stopped import journal, shorten_leases, stopped_worker
from tests.edge_world import EdgeWorld, edge_world
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until

BEFORE_SWITCH = "before the pointer is switched"
BEFORE_ANSWER = "between the switch and the public answer"
BEFORE_OUTCOME = "with the public answer, before the outcome is decided"
TAKEN_OVER = "another worker completes it"
CANCELLED = "it is cancelled"
UNHEARD = "it times out and the request to stop is lost"
NOT_FOUND = "HTTP/1.1 404 Not Found\r\nx-zepid-release: {release}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
OUTCOMES = {TAKEN_OVER: "completed", CANCELLED: "cancelled", UNHEARD: "failed"}


@dataclass
class Hold:
    """The answer to one probe, held back until `released`; `instead` of the edge's, if given."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    instead: bytes = b""


class Gate:
    """Stands before the edge and holds the answer to the first probe of some addresses."""

    def __init__(self, edge_port: int) -> None:
        self._edge_port = edge_port
        self._holds: dict[str, Hold] = {}
        self.address = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield

    def hold(self, name: str) -> Hold:
        """Hold the first request for a host whose name starts with `name`."""
        return self._holds.setdefault(name, Hold())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        host = next(line for line in head.decode().splitlines() if line.lower().startswith("host:"))
        hold = self._holds.pop(host.split()[1].partition(".localhost")[0], None)
        if hold:
            hold.reached.set()
            await hold.released.wait()
        writer.write(hold.instead if hold and hold.instead else await self._ask_edge(head))
        await writer.drain()
        writer.close()
        if hold:
            hold.answered.set()

    async def _ask_edge(self, head: bytes) -> bytes:
        edge, request = await asyncio.open_connection("127.0.0.1", self._edge_port)
        request.write(head.replace(b"keep-alive", b"close"))
        answer = await edge.read()
        request.close()
        return answer


@dataclass
class Case:
    """One deployment, where its worker was stopped, and what happens to it meanwhile."""

    place: str
    end: str
    project: str
    deployment: str
    hold: Hold
    newer: str = ""

    @property
    def release(self) -> str:
        return release_of(self.deployment)


def release_of(deployment_id: str) -> str:
    return deployment_id.replace("deploy_", "rel_")


@asynccontextmanager
async def another_worker(running: Pipeline) -> AsyncIterator[Callable[[], None]]:
    """A deploy worker in this process, which works from when it is called."""
    another = Pipeline(running.resources)
    another.handlers["deploy"] = deploy
    try:
        yield partial(another.start, {"deploy"})
    finally:
        await another.stop()


async def build_page(command: Command, ports: Ports) -> Outcome:
    """Make a page that names its deployment."""
    page = command.deployment_id.encode()
    files = {"index.html": Entry(await blobs.store(ports.objects, page), len(page))}
    artifact = await blobs.store_manifest(ports.objects, Manifest(files))
    return Done(msgspec.structs.replace(command.work, artifact=artifact))


class Shop:
    """A pipeline in front of an edge."""

    def __init__(self, running: Pipeline, world: EdgeWorld, gate: Gate) -> None:
        self.running = running
        self.world = world
        self.gate = gate

    async def begin(self, place: str, end: str) -> Case:
        """Request a deployment whose first worker will be held at this place."""
        project = await self.running.project()
        deployment = await self.running.request(project)
        site = await self.site(deployment)
        release = release_of(deployment).replace("_", "-")
        hold = self.gate.hold(f"{release}.{site}" if place == BEFORE_SWITCH else site)
        return Case(place, end, project, deployment, hold)

    async def site(self, deployment: str) -> str:
        record = await self.running.resources.deployments.deployment(deployment)
        assert record is not None
        return record.site

    async def end(self, case: Case) -> None:
        """Let the deployment end without its stopped worker, then complete a newer one of the project."""
        deployments, bus = self.running.resources.deployments, self.running.resources.bus
        if case.end == CANCELLED:
            failure = ZepidError("CANCELLED", "cancelled by the test").failure("deploy")
            await interrupt(deployments, bus, "gateway", case.deployment, "cancelled", failure)
        elif case.end == UNHEARD:
            failure = ZepidError("DEPLOYMENT_TIMEOUT", "ended by the test").failure("deploy")
            await conclude(deployments, bus, "reconciler", case.deployment, "failed", failure)
        assert (await self.running.finished(case.deployment)).outcome == OUTCOMES[case.end]
        case.newer = await self.running.request(case.project)
        assert (await self.running.finished(case.newer)).outcome == "completed"

    async def decided(self, case: Case) -> list[str]:
        """What refused results of the deployment were told."""
        events = await journal(self.running.resources, case.deployment)
        return [event.decided for event in events if isinstance(event, Refused)]

    async def check(self, case: Case) -> None:
        """The old deployment ended once, as it had; the newer one is what the pointer names and people see."""
        for deployment, outcome in ((case.deployment, OUTCOMES[case.end]), (case.newer, "completed")):
            assert await self.running.outcome(deployment) == outcome
            events = await journal(self.running.resources, deployment)
            assert [event.outcome for event in events if isinstance(event, Ended)] == [outcome]
        pointer = "select release_id, confirmed from site where project_id = $1"
        assert tuple(await self.world.pool.fetchrow(pointer, case.project)) == (release_of(case.newer), True)
        async with self.world.client(await self.site(case.newer)) as client:
            assert (await client.get("/")).text == case.newer


@pytest.fixture
async def shop(
    nats_server: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    shorten_leases(monkeypatch)
    async with edge_world(database_url, tmp_path) as world:
        gate = Gate(world.settings.edge_port)
        async with gate.open():
            edge = {"edge_url": world.settings.edge_url, "edge_address": gate.address, "publisher": "local"}
            settings = settings_for(nats_server, database_url, tmp_path, max_concurrent_deployments=50, **edge)
            async with pipeline(settings) as running:
                running.handlers |= {"build": build_page, "deploy": deploy}
                yield Shop(running, world, gate)


async def test_what_a_stopped_deploy_worker_brings_late_is_refused(shop: Shop) -> None:
    running = shop.running
    running.start(set(running.services()) - {"deploy"})
    cases = [await shop.begin(*each) for each in product((BEFORE_SWITCH, BEFORE_ANSWER, BEFORE_OUTCOME), OUTCOMES)]
    async with another_worker(running) as start_another:
        async with stopped_worker("deploy", running.resources.settings) as worker:
            async with asyncio.timeout(30):
                await asyncio.gather(*(case.hold.reached.wait() for case in cases))
            worker.stop()
            answered = [case.hold for case in cases if case.place == BEFORE_OUTCOME]
            for hold in answered:
                hold.released.set()
            await asyncio.gather(*(hold.answered.wait() for hold in answered))
            start_another()
            await asyncio.gather(*(shop.end(case) for case in cases))
            worker.wake()
            for case in cases:
                case.hold.released.set()
            for case in cases:
                if case.end != CANCELLED:  # a worker that hears of the cancellation brings nothing
                    assert await until(partial(shop.decided, case)) == [OUTCOMES[case.end]], case
            await worker.finish()
        for case in cases:
            await shop.check(case)


async def test_a_failure_that_a_stopped_worker_meets_late_ends_nothing(shop: Shop) -> None:
    running = shop.running
    running.start(set(running.services()) - {"deploy"})
    async with another_worker(running) as start_another:
        async with stopped_worker("deploy", running.resources.settings) as worker:
            case = await shop.begin(BEFORE_ANSWER, TAKEN_OVER)
            async with asyncio.timeout(30):
                await case.hold.reached.wait()
            worker.stop()
            meanwhile = shop.gate.hold(await shop.site(case.deployment))
            start_another()
            async with asyncio.timeout(30):
                await meanwhile.reached.wait()
            case.hold.instead = NOT_FOUND.format(release=case.release).encode()
            case.hold.released.set()
            await case.hold.answered.wait()
            worker.wake()
            await worker.finish()
        assert await running.outcome(case.deployment) is None
        meanwhile.released.set()
        await shop.end(case)
        await shop.check(case)
