"""The steps deploy and cleanup over a real database, a real bucket and a real edge."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from services.steps.cleanup.handler import handle as cleanup
from services.steps.deploy.handler import handle as deploy
from shared import blobs
from shared.adapters.postgres.deployments import Deployments
from shared.adapters.publishers.local import LocalPublisher
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command, Work
from shared.contracts.outcomes import Done, Reject
from shared.ports import Entry, Fence, Manifest, Ports
from tests.edge_world import EdgeWorld, edge_world

SITE = "shop-worker"


@dataclass
class Lines:
    """A step log that a test can read."""

    lines: list[str] = field(default_factory=list)

    def write(self, stream: str, message: str, level: str = "info") -> None:
        self.lines.append(message)


@dataclass
class Destroyed:
    """A sandbox provider that only remembers what was destroyed."""

    names: list[str] = field(default_factory=list)

    async def destroy(self, name: str) -> None:
        self.names.append(name)


class Live:
    """A project in front of an edge, and its deployments one after the other."""

    def __init__(self, world: EdgeWorld) -> None:
        self.world = world
        self.deployments = Deployments(world.pool)
        self.log = Lines()
        self.sandboxes = Destroyed()
        self.ports = Ports(
            records=self.deployments,
            objects=world.objects,
            sandboxes=self.sandboxes,  # type: ignore[arg-type]
            publishers={"local": LocalPublisher(world.settings)},
            log=self.log,
            settings=world.settings,
            fence=Fence(0, 0, 0, 1),
            attempt=1,
        )

    async def accept(self, files: dict[str, bytes]) -> Command:
        """Accept and admit a deployment, with these files as its built output."""
        entries = {path: Entry(await blobs.store(self.world.objects, data), len(data)) for path, data in files.items()}
        artifact = await blobs.store_manifest(self.world.objects, Manifest(entries))
        deployment_id = f"deploy_{uuid4().hex}"
        verdict = await self.deployments.accept(
            id=deployment_id,
            project_id="shop",
            organization_id="o",
            user_id="u",
            priority=5,
            target="local",
            snapshot_id=None,
            traceparent="",
            max_waiting=100,
        )
        assert verdict.verdict == "accepted"
        await self.deployments.admit(5, 5, 600)
        return Command(
            deployment_id=deployment_id,
            project_id="shop",
            organization_id="o",
            step="deploy",
            deadline=time.time() + 600,
            work=Work(source="", artifact=artifact),
        )

    async def go_live(self, files: dict[str, bytes]) -> Work:
        """Run a deployment through deploy, its outcome and cleanup."""
        command = await self.accept(files)
        outcome = await deploy(command, self.ports)
        assert isinstance(outcome, Done)
        await self.deployments.end(
            command.deployment_id, "completed", url=outcome.work.url, release=outcome.work.release
        )
        await cleanup(command, self.ports)
        return outcome.work

    async def fail(self, command: Command) -> None:
        """End a deployment as failed and clean up."""
        await self.deployments.end(command.deployment_id, "failed")
        await cleanup(command, self.ports)

    async def served(self) -> tuple[bytes, str]:
        async with self.world.client(SITE) as client:
            answer = await client.get("/")
        return answer.content, answer.headers.get("x-zepid-release", "")


@pytest_asyncio.fixture
async def live(database_url: str, tmp_path: Path) -> AsyncIterator[Live]:
    async with edge_world(database_url, tmp_path) as world:
        await world.pool.execute(
            "insert into project (id, name, template_type, user_id, organization_id)"
            " values ('shop', 'Shop', 'react', 'u', 'o')"
        )
        yield Live(world)


async def test_deploy_puts_the_release_live_and_says_so(live: Live) -> None:
    work = await live.go_live({"index.html": b"first"})
    assert work.url == f"http://{SITE}.localhost:{live.world.settings.edge_port}/"
    assert await live.served() == (b"first", work.release)
    assert live.log.lines[-1] == f"Live at {work.url}"
    assert any(work.release in line for line in live.log.lines)


async def test_deploy_again_makes_the_same_release(live: Live) -> None:
    command = await live.accept({"index.html": b"first"})
    first, second = await deploy(command, live.ports), await deploy(command, live.ports)
    assert first == second
    assert await live.world.pool.fetchval("select count(*) from release") == 1


async def test_each_deployment_replaces_the_one_before(live: Live) -> None:
    for number in range(3):
        work = await live.go_live({"index.html": b"%d" % number})
        assert await live.served() == (b"%d" % number, work.release)


async def test_a_release_without_an_index_never_gets_the_pointer(live: Live) -> None:
    before = await live.go_live({"index.html": b"good"})
    command = await live.accept({"readme.txt": b"no page"})
    with pytest.raises(ZepidError, match=r"index\.html") as failed:
        await deploy(command, live.ports)
    assert failed.value.code.name == "RELEASE_PROBE_FAILED"
    assert await live.served() == (b"good", before.release)


async def test_a_lost_artifact_never_gets_the_pointer(live: Live) -> None:
    before = await live.go_live({"index.html": b"good"})
    command = await live.accept({"index.html": b"new"})
    await live.world.objects.delete(blobs.key_of(command.work.artifact))
    with pytest.raises(ZepidError, match="missing"):
        await deploy(command, live.ports)
    assert await live.served() == (b"good", before.release)


async def test_a_deployment_that_has_ended_is_refused(live: Live) -> None:
    before = await live.go_live({"index.html": b"good"})
    command = await live.accept({"index.html": b"late"})
    await live.deployments.end(command.deployment_id, "cancelled")
    outcome = await deploy(command, live.ports)
    assert isinstance(outcome, Reject)
    assert outcome.failure.code == "OUTCOME_ALREADY_DECIDED"
    assert await live.served() == (b"good", before.release)


async def test_a_switch_that_was_never_confirmed_goes_back_when_the_deployment_fails(live: Live) -> None:
    before = await live.go_live({"index.html": b"good"})
    command = await live.accept({"index.html": b"bad"})
    assert isinstance(await deploy(command, live.ports), Done)
    await live.fail(command)
    publisher = live.ports.publishers["local"]
    await publisher.probe(publisher.public_url(SITE), before.release)


async def test_cleanup_destroys_the_sandbox_and_frees_the_project_however_often_it_runs(live: Live) -> None:
    command = await live.accept({"index.html": b"first"})
    await live.fail(command)
    await cleanup(command, live.ports)
    assert live.sandboxes.names == [command.deployment_id] * 2
    assert isinstance(await deploy(await live.accept({"index.html": b"next"}), live.ports), Done)
