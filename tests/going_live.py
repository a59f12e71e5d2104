"""A project in front of a real edge, deployed by the real step and SQL functions: for tests of what is live."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from services.steps.cleanup.handler import handle as cleanup
from services.steps.deploy.handler import handle as deploy
from shared import blobs
from shared.adapters.postgres.acceptance import Order
from shared.adapters.postgres.deployments import Deployments
from shared.adapters.publishers.local import LocalPublisher
from shared.contracts.messages import Command, Work
from shared.contracts.outcomes import Done
from shared.ports import Entry, Fence, Manifest, Ports
from shared.settings import Settings
from tests.edge_world import EdgeWorld, edge_world

PROJECT = "shop"
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


def quick_publisher(settings: Settings) -> LocalPublisher:
    """The local publisher, waiting not long for what will not come."""
    return LocalPublisher(settings, probe_seconds=2)


class Live:
    """A project in front of an edge, and its deployments one after the other, all to `target`."""

    def __init__(self, world: EdgeWorld) -> None:
        self.world = world
        self.deployments = Deployments(world.pool)
        self.target = "local"
        self.log = Lines()
        self.sandboxes = Destroyed()
        self.ports = Ports(
            records=self.deployments,
            objects=world.objects,
            sandboxes=self.sandboxes,  # type: ignore[arg-type]
            publishers={"local": quick_publisher(world.settings)},
            log=self.log,
            settings=world.settings,
            fence=Fence(0, 0, 0, 1),
            attempt=1,
        )

    async def build(self, files: dict[str, bytes]) -> str:
        """Store files as a build does; return the artifact."""
        entries = {path: Entry(await blobs.store(self.world.objects, data), len(data)) for path, data in files.items()}
        return await blobs.store_manifest(self.world.objects, Manifest(entries))

    async def accept(self, files: dict[str, bytes]) -> Command:
        """Accept and admit a deployment, with these files as its built output."""
        artifact = await self.build(files)
        deployment_id = f"deploy_{uuid4().hex}"
        verdict = await self.deployments.accept(
            Order(
                id=deployment_id,
                project_id=PROJECT,
                organization_id="o",
                user_id="u",
                priority=5,
                target=self.target,
                snapshot_id=None,
                traceparent="",
                max_waiting=100,
            )
        )
        assert verdict.verdict == "accepted"
        await self.deployments.admit(5, 5, 600)
        return Command(
            deployment_id=deployment_id,
            project_id=PROJECT,
            organization_id="o",
            step="deploy",
            deadline=time.time() + 600,
            work=Work(source="", target=self.target, artifact=artifact),
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


@asynccontextmanager
async def going_live(database_url: str, folder: Path) -> AsyncIterator[Live]:
    """Serve a project `shop` of organisation `o`, with nothing live yet."""
    async with edge_world(database_url, folder) as world:
        await world.pool.execute(
            "insert into project (id, name, template_type, user_id, organization_id)"
            " values ('shop', 'Shop', 'react', 'u', 'o')"
        )
        yield Live(world)
