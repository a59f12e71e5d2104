"""A real edge on a port of its own, with sites and releases to put in front of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import uvicorn
from msgspec.structs import replace

from services.edge.app import Edge
from shared import blobs
from shared.adapters.objects import ARTIFACTS, open_objects
from shared.adapters.postgres.database import open_pool
from shared.hosting import Hosting
from shared.http_service import KEEP_ALIVE_SECONDS
from shared.ports import Entry, Manifest, Objects
from shared.sealing import Seal
from shared.settings import Settings
from shared.zero_copy import ZeroCopyProtocol


async def nothing_comes() -> dict[str, str]:
    """Receive as a client that sends nothing and has gone."""
    return {"type": "http.disconnect"}


class EdgeWorld:
    """What a test has: a database, a bucket, and an edge that serves them."""

    def __init__(self, pool: asyncpg.Pool, objects: Objects, settings: Settings) -> None:
        self.pool = pool
        self.objects = objects
        self.settings = settings
        self.target = "local"
        self.owner = "o"

    async def add_site(self, site: str) -> None:
        """Make a site without a release."""
        await self.pool.execute(
            "insert into site (name, project_id, organization_id) values ($1, $1, $2)", site, self.owner
        )

    async def add_release(self, site: str, files: dict[str, bytes], hosting: Hosting | None = None) -> str:
        """Store files as a release of the site; no pointer moves."""
        entries = {path: Entry(await blobs.store(self.objects, data), len(data)) for path, data in files.items()}
        manifest = await blobs.store_manifest(self.objects, Manifest(entries, hosting))
        name = uuid4().hex
        await self.pool.execute(
            "insert into deployment"
            " (id, project_id, organization_id, user_id, source, target, site, settings, outcome, freed_at)"
            " values ($1, $2, $4, 'u', '', $3, $2, '{}', 'completed', now())",
            f"deploy_{name}",
            site,
            self.target,
            self.owner,
        )
        await self.pool.execute(
            "insert into release (id, deployment_id, project_id, organization_id, site, manifest)"
            " values ($1, $2, $3, $5, $3, $4)",
            f"rel_{name}",
            f"deploy_{name}",
            site,
            manifest,
            self.owner,
        )
        return f"rel_{name}"

    async def point(self, site: str, release: str) -> None:
        """Switch the site's pointer."""
        await self.pool.execute("update site set release_id = $2 where name = $1", site, release)

    async def publish(self, site: str, files: dict[str, bytes], hosting: Hosting | None = None) -> str:
        """Make the site if need be, and point it to a new release of these files."""
        if not await self.pool.fetchval("select true from site where name = $1", site):
            await self.add_site(site)
        release = await self.add_release(site, files, hosting)
        await self.point(site, release)
        return release

    def client(self, site: str = "", **headers: str) -> httpx.AsyncClient:
        """A browser at the site's host; without a site, at the edge's bare address."""
        host = {"host": f"{site}.localhost:{self.settings.edge_port}"} if site else {}
        return httpx.AsyncClient(
            base_url=f"http://{self.settings.edge_address}",
            headers={**host, "accept-encoding": "identity", **headers},
            trust_env=False,
        )


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = 10) -> None:
    """Ask again and again until the answer is yes; TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """Serve an ASGI application on a free port of this host."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="warning",
            http=ZeroCopyProtocol,
            ws="none",
            lifespan="on",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )
    task = asyncio.create_task(server.serve())

    async def has_started() -> bool:
        return server.started

    await until(has_started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def edge_world(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[EdgeWorld]:
    """Serve a database and a bucket below `folder`."""
    given = Settings(**{"data_dir": str(folder / "data")} | settings)
    pool = await open_pool(database_url)
    objects = open_objects(f"file://{folder}/objects", ARTIFACTS)
    try:
        async with serving(Edge(pool, objects, given, Seal())) as port:
            own = {"edge_port": port, "edge_url": f"http://{{site}}.localhost:{port}"}
            yield EdgeWorld(pool, objects, replace(given, **own, edge_address=f"127.0.0.1:{port}"))
    finally:
        await pool.close()
