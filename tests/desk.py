"""A caller over HTTP at a project that is really served: for tests of releases and what is kept of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec

from services.gateway.app import create_app
from services.gateway.ports import GatewayPorts
from shared.adapters.postgres.tokens import Tokens
from shared.resources import Resources, open_resources
from tests.edge_world import serving
from tests.going_live import PROJECT, SITE, Live, going_live, quick_publisher


@dataclass
class Desk:
    """A project whose releases a caller with a token of its organisation looks at and switches."""

    live: Live
    client: httpx.AsyncClient
    resources: Resources
    folder: Path

    async def releases(self) -> list[dict[str, Any]]:
        answer = await self.client.get(f"/projects/{PROJECT}/releases")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["releases"])

    async def roll_back(self, release: str, reason: str = "") -> httpx.Response:
        return await self.client.post(f"/projects/{PROJECT}/rollback", json={"releaseId": release, "reason": reason})

    async def pointer(self) -> str:
        return str(await self.live.world.pool.fetchval("select release_id from site where name = $1", SITE))


@asynccontextmanager
async def open_desk(
    nats_url: str, database_url: str, folder: Path, scope: str = "deploy", **settings: object
) -> AsyncIterator[Desk]:
    """Serve a project `shop` of organisation `o`, and a gateway in front of it; `settings` are the gateway's."""
    async with going_live(database_url, folder) as live:
        changed = msgspec.structs.replace(
            live.world.settings,
            nats_url=nats_url,
            postgres_url=database_url,
            object_store_url=f"file://{folder}/objects",
            data_dir=str(folder),
            **settings,
        )
        async with open_resources(changed, "test") as resources:
            ports = replace(GatewayPorts.of(resources), publishers={"local": quick_publisher(changed)})
            app = create_app(ports)
            _, token = await Tokens(resources.pool).create("test", [scope], "o", "ada")
            headers = {"authorization": f"Bearer {token}"}
            async with (
                serving(app) as port,
                httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, trust_env=False
                ) as client,
            ):
                yield Desk(live, client, resources, folder)
