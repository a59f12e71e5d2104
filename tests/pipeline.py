"""A whole pipeline for tests: real broker, real database, every service in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg

from services.dead_letter import create as create_dead_letter
from services.intake import create as create_intake
from services.projector import create as create_projector
from services.reconciler import create as create_reconciler
from services.steps.loader import open_ports
from services.steps.noop import noop_handlers
from shared.adapters.postgres.acceptance import Order
from shared.adapters.postgres.database import DATABASE_AWAY
from shared.adapters.postgres.projections import Projections
from shared.contracts.errors import ZepidError
from shared.execution import Handle
from shared.pipeline import STEPS
from shared.projection import Progress
from shared.resources import Resources, open_resources
from shared.service import Service, run_together
from shared.settings import Settings, load_settings
from shared.worker import Worker
from tests.waiting import until

DEADLINE_SECONDS = 30.0


class Pipeline:
    """A running pipeline; `handlers` may be changed until `start`."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.handlers: dict[str, Handle] = noop_handlers()
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def services(self) -> dict[str, Service]:
        resources = self.resources
        ports = open_ports(resources)
        workers = {
            step.name: Worker(step, self.handlers[step.name], ports, resources.bus, resources.deployments)
            for step in STEPS
        }
        others = {
            "intake": create_intake(resources),
            "projector": create_projector(resources),
            "dead-letter": create_dead_letter(resources),
            "reconciler": create_reconciler(resources),
        }
        return {**workers, **others}

    def start(self, only: set[str] | None = None) -> None:
        services = {name: service for name, service in self.services().items() if only is None or name in only}
        self._stopping = asyncio.Event()
        self._running = asyncio.create_task(run_together(services, self._stopping))

    async def stop(self) -> None:
        self._stopping.set()
        if self._running is not None:
            await self._running
            self._running = None

    async def project(self, organization_id: str = "org") -> str:
        project_id = f"p-{uuid4().hex[:12]}"
        await self.resources.pool.execute(
            "insert into project (id, name, template_type, user_id, organization_id) values ($1, $1, 'vite', 'u', $2)",
            project_id,
            organization_id,
        )
        return project_id

    async def request(self, project_id: str | None = None, organization_id: str = "org") -> str:
        """Accept a deployment as the gateway does, and return its id."""
        project_id = project_id or await self.project(organization_id)
        deployment_id = f"deploy_{uuid4().hex}"
        verdict = await self.resources.deployments.accept(
            Order(
                id=deployment_id,
                project_id=project_id,
                organization_id=organization_id,
                user_id="u",
                priority=5,
                target="local",
                snapshot_id=None,
                traceparent="",
                max_waiting=100_000,
            )
        )
        assert verdict.verdict == "accepted", verdict
        await self.resources.bus.wake_intake(deployment_id, "")
        return deployment_id

    async def progress(self, deployment_id: str) -> Progress | None:
        async with self.resources.pool.acquire() as connection:
            return (await Projections(connection).load([deployment_id])).get(deployment_id)

    async def finished(self, deployment_id: str, within: float = DEADLINE_SECONDS) -> Progress:
        """Wait until the projection shows the deployment finished."""

        async def is_finished() -> Progress | None:
            try:
                progress = await self.progress(deployment_id)
            except DATABASE_AWAY:
                return None
            return progress if progress and progress.finished else None

        finished: Progress = await until(is_finished, within)
        return finished

    async def outcome(self, deployment_id: str) -> str | None:
        record = await self.resources.deployments.deployment(deployment_id)
        if record is None:
            raise ZepidError("NOT_FOUND", deployment_id)
        return record.outcome


def settings_for(nats_url: str, postgres_url: str, data_dir: Path, **overrides: object) -> Settings:
    return load_settings(
        {},
        **{
            "nats_url": nats_url,
            "postgres_url": postgres_url,
            "object_store_url": f"file://{data_dir}/objects",
            "data_dir": str(data_dir),
            "sandbox_builder_default_provider": "noop",
            "publisher": "noop",
            "max_concurrent_per_organization": 1_000,
            "deploy_rate_limit": 1_000,
            **overrides,
        },
    )


@asynccontextmanager
async def pipeline(settings: Settings) -> AsyncIterator[Pipeline]:
    async with open_resources(settings, "test") as resources:
        running = Pipeline(resources)
        try:
            yield running
        finally:
            await running.stop()


async def rows(pool: asyncpg.Pool, table: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await pool.fetch(f"select * from {table} order by 1, 2")]
