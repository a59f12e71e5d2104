"""The system under test: embedded servers behind proxies, every service a process of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from infra.dev.data_dir import port_for
from infra.dev.stack import EmbeddedStack, Endpoints
from services.cli.benches.chaos.proxy import Proxy
from services.cli.processes import Processes
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.migrate import migrate
from shared.adapters.postgres.tokens import Tokens
from shared.settings import Settings, load_settings

ORGANIZATIONS = ("chaos-a", "chaos-b", "chaos-c")
UNITS = 100_000
"""Deployments that each organisation's plan allows at the start."""
RAISED: dict[str, Any] = {
    "max_concurrent_deployments": 15,
    "max_concurrent_per_organization": 10,
    "max_waiting_per_organization": 100_000,
    "deploy_rate_limit": 100_000,
}
"""Settings that would otherwise refuse or hold back the load; named in the report."""
REPLICAS = {"sync": 2, "build": 2, "deploy": 2}
"""Steps with a second process, which takes over while the first one is stopped."""
_READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs.

    Attributes:
        folder: the data folder.
        settings: with the servers' own addresses; the services know only the proxies'.
        token: may do everything in every organisation.
    """

    folder: Path
    settings: Settings
    token: str
    servers: EmbeddedStack
    services: Processes
    nats_proxy: Proxy
    postgres_proxy: Proxy

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.settings.port}"


@asynccontextmanager
async def running_stack(folder: Path) -> AsyncIterator[Stack]:
    """Start everything in a data folder, ready to serve; stopped in the opposite order."""
    servers = EmbeddedStack(folder, {})
    async with AsyncExitStack() as exits:
        endpoints = await exits.enter_async_context(servers)
        nats_proxy = await exits.enter_async_context(Proxy(endpoints.nats_url))
        postgres_proxy = await exits.enter_async_context(Proxy(endpoints.postgres_url))
        settings = _settings(folder, endpoints)
        token = await _prepare(settings.postgres_url)
        proxied = msgspec.structs.replace(settings, nats_url=nats_proxy.url, postgres_url=postgres_proxy.url)
        services = Processes(folder, proxied, REPLICAS)
        await exits.enter_async_context(_supervised(services))
        stack = Stack(folder, settings, token, servers, services, nats_proxy, postgres_proxy)
        await _until_ready(stack)
        yield stack


def _settings(folder: Path, endpoints: Endpoints) -> Settings:
    edge_port = port_for("edge", folder, 0)
    return load_settings(
        {},
        nats_url=endpoints.nats_url,
        postgres_url=endpoints.postgres_url,
        object_store_url=endpoints.object_store_url,
        data_dir=str(folder),
        port=port_for("gateway", folder, 0),
        edge_port=edge_port,
        edge_url=f"http://{{site}}.localhost:{edge_port}",
        edge_address=f"127.0.0.1:{edge_port}",
        **RAISED,
    )


async def _prepare(postgres_url: str) -> str:
    """Make the schema, a plan for each organisation, and a token; return the token."""
    await migrate(postgres_url)
    pool = await open_pool(postgres_url, size=1)
    try:
        await pool.execute(
            "insert into subscription_limit (id, organization_id, plan_name, plan_id, ai_nums, enhance_nums,"
            " upload_limit, deploy_limit, period_start, period_end)"
            " select id, id, 'PRO', 'pro', 0, 0, 0, $2, now() - interval '1 day', now() + interval '30 days'"
            " from unnest($1::text[]) as id",
            list(ORGANIZATIONS),
            UNITS,
        )
        _, token = await Tokens(pool).create("chaos", ["admin"], None, "chaos")
    finally:
        await pool.close()
    return token


@asynccontextmanager
async def _supervised(services: Processes) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    running = asyncio.create_task(services.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await running


async def _until_ready(stack: Stack) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        for address in (f"{stack.url}/health/ready", f"http://{stack.settings.edge_address}/_edge/health"):
            while not await _answers(client, address):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{address} does not answer; see {stack.folder / 'logs'}")
                await asyncio.sleep(0.1)


async def _answers(client: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await client.get(address)).is_success
    except httpx.TransportError:
        return False
