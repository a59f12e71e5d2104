"""A gateway, an edge, the checks of domains and a name server, all real, in one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.fernet import Fernet

from infra.dev.data_dir import port_for
from services.domains import create as create_domains
from services.edge import create as create_edge
from shared.adapters.postgres.tokens import Tokens
from shared.resources import open_resources
from shared.service import run_together
from shared.settings import Settings, load_settings
from tests.dns_server import NameServer, name_server
from tests.edge_world import EdgeWorld
from tests.stand import Stand, serving
from tests.waiting import until

HOST = "shop.example.com"
Domain = dict[str, Any]


@dataclass
class World:
    """A gateway, an edge, the domain checks and a name server, all real."""

    stand: Stand
    dns: NameServer
    edge: EdgeWorld

    async def project(self, page: bytes = b"<!doctype html><title>shop</title>") -> str:
        """Make a project that serves a page; return its id."""
        project_id = await self.stand.project()
        await self.edge.publish(await self.site(project_id), {"index.html": page})
        return project_id

    async def site(self, project_id: str) -> str:
        return str((await self.stand.client.get(f"/projects/{project_id}")).json()["project"]["workerName"])

    async def add(self, project_id: str, hostname: str = HOST) -> Domain:
        answer = await self.stand.client.post(f"/projects/{project_id}/domains", json={"hostname": hostname})
        assert answer.status_code == 201, answer.text
        domain: Domain = answer.json()
        return domain

    async def verify(self, project_id: str, hostname: str = HOST) -> Domain:
        answer = await self.stand.client.post(f"/projects/{project_id}/domains/{hostname}/verify")
        assert answer.status_code == 200, answer.text
        domain: Domain = answer.json()
        return domain

    def prove(self, domain: Domain) -> None:
        """Make the record that the domain's answer asks for."""
        record = domain["verification"]
        self.dns.records.setdefault((record["name"], record["type"]), []).append(record["value"])

    def lead_here(self, hostname: str = HOST) -> None:
        self.dns.records[hostname, "A"] = ["127.0.0.1"]

    async def reaches(self, project_id: str, state: str, hostname: str = HOST) -> Domain:
        """Wait until the service has brought the domain to a state."""

        async def is_there() -> Domain | None:
            domain = (await self.stand.client.get(f"/projects/{project_id}/domains/{hostname}")).json()
            return domain if domain["state"] == state else None

        found: Domain = await until(is_there)
        return found

    async def ask_edge(self, path: str, host: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"http://{self.edge.settings.edge_address}{path}", headers={"host": host})


@asynccontextmanager
async def domain_world(nats_url: str, postgres_url: str, folder: Path, **more: str) -> AsyncIterator[World]:
    """Run everything for the length of a block, with a token of organisation `acme` and `more` settings."""
    async with (
        name_server() as dns,
        open_resources(
            load_settings(_settings(nats_url, postgres_url, folder, dns).as_environ(), **more), "test"
        ) as resources,
    ):
        _, token = await Tokens(resources.pool).create("test", ["deploy"], "acme", "ada")
        stopping = asyncio.Event()
        services = {"domains": create_domains(resources), "edge": create_edge(resources)}
        running = asyncio.create_task(run_together(services, stopping))
        try:
            async with (
                serving(resources) as (gateway, url),
                httpx.AsyncClient(
                    base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30, trust_env=False
                ) as client,
            ):
                stand = Stand(gateway, url, client, resources, token)
                yield World(stand, dns, EdgeWorld(resources.pool, resources.artifacts, resources.settings))
        finally:
            stopping.set()
            await running


def _settings(nats_url: str, postgres_url: str, folder: Path, dns: NameServer) -> Settings:
    port = port_for("edge", folder, 0)
    return Settings(
        nats_url=nats_url,
        postgres_url=postgres_url,
        object_store_url=f"file://{folder}/objects",
        edge_port=port,
        edge_url=f"http://{{site}}.localhost:{port}",
        edge_address=f"127.0.0.1:{port}",
        dns_servers=dns.address,
        encryption_keys=Fernet.generate_key().decode(),
    )
