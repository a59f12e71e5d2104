"""A running gateway with everything real behind it, for tests; the fixture is `stand`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import uvicorn

from services.gateway.app import create_app
from services.gateway.ports import Gateway, GatewayPorts
from shared.contracts.events import Event
from shared.http_service import KEEP_ALIVE_SECONDS
from shared.projection import Progress, apply
from shared.resources import Resources

DEADLINE = 10


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; fails after the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@dataclass
class Stand:
    """A running gateway, a token of organisation `acme`, and what stands behind it."""

    gateway: Gateway
    url: str
    client: httpx.AsyncClient
    resources: Resources
    token: str

    async def project(self, name: str = "Shop") -> str:
        answer = await self.client.post("/projects", json={"name": name})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["project"]["id"])

    async def deploy(self, project_id: str, **more: object) -> httpx.Response:
        return await self.client.post(
            "/deploy", json={"projectId": project_id, "orgId": "acme", "userId": "ada", **more}
        )

    async def deployment(self) -> str:
        answer = await self.deploy(await self.project())
        assert answer.status_code == 200, answer.text
        return str(answer.json()["deploymentId"])

    async def record(self, *events: Event) -> None:
        for event in events:
            await self.resources.bus.record(event, "")

    async def project_rows(self, *events: Event) -> None:
        """Write the rows that the projector would."""
        progress: Progress | None = None
        for sequence, event in enumerate(events, start=1):
            progress = apply(progress, event, sequence)
        assert progress
        await self.resources.pool.execute(
            "insert into deployment_progress values ($1,$2,$3,0,$4,$5,$6,$7,to_timestamp($8),to_timestamp($9),$10)",
            progress.deployment_id,
            progress.stage,
            progress.progress,
            progress.finished,
            progress.outcome,
            progress.failure,
            progress.url,
            progress.started_at,
            progress.finished_at,
            progress.sequence,
        )
        for name, step in progress.steps.items():
            await self.resources.pool.execute(
                "insert into deployment_step values ($1,$2,$3,$4,to_timestamp($5),to_timestamp($6),$7,$8)",
                progress.deployment_id, name, step.status, step.attempts, step.started_at, step.completed_at,
                step.failure, step.detail,
            )  # fmt: skip


@asynccontextmanager
async def serving(resources: Resources) -> AsyncIterator[tuple[Gateway, str]]:
    app = create_app(GatewayPorts.of(resources, allowed_origins=("https://app.example",)))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=0,
            log_config=None,
            lifespan="on",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )
    )
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        yield app.state.gateway, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
