"""What `zepid bench edge` measures: the edge, a bare app and nginx, each serving the same site from its own process."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec

from infra.dev.child import Child
from infra.dev.data_dir import port_for
from infra.dev.stack import EmbeddedStack
from services.cli.benches.bare_app import Kept
from services.cli.benches.fetching import Fetcher
from services.cli.benches.nginx import find_nginx, nginx
from services.cli.benches.pipeline import until_listening
from shared import blobs
from shared.adapters.objects import ARTIFACTS, open_objects
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.migrate import migrate
from shared.ports import Entry, Manifest, Objects

SMALL = ["/", "/assets/app-B7xK2qab.js"]
LARGE = "/film.mp4"
SMALL_BYTES = 4096
LARGE_BYTES = 24 << 20
FILES_OF_A_SITE = 20
_AT_ONCE = 50
_SITES = """
with given as (
  select $2 || number as name, manifest from unnest($1::text[]) with ordinality as m(manifest, number)
), made as (
  insert into deployment (id, project_id, organization_id, user_id, source, target, site, settings, outcome, freed_at)
  select 'deploy_' || name, name, 'bench', 'bench', '', 'local', name, '{}', 'completed', now() from given
), released as (
  insert into release (id, deployment_id, project_id, organization_id, site, manifest)
  select 'rel_' || name, 'deploy_' || name, name, 'bench', name, manifest from given
)
insert into site (name, project_id, organization_id, release_id) select name, name, 'bench', 'rel_' || name from given
"""
"""Sites with a release each: the given name and a number from 1."""


@dataclass(frozen=True, slots=True)
class World:
    """The servers by name: `edge`, `bare` and, where it is installed, `nginx`."""

    servers: dict[str, Fetcher]
    pool: asyncpg.Pool
    objects: Objects
    edge: Child

    async def add_sites(self, count: int) -> list[str]:
        """Make sites whose pages differ and whose other files are the same; return their hosts."""
        shared = {
            f"assets/part-{number}.js": await self._blob(b"//%d" % number) for number in range(FILES_OF_A_SITE - 1)
        }
        turn = asyncio.Semaphore(_AT_ONCE)

        async def manifest_of(number: int) -> str:
            async with turn:
                page = await self._blob(b"<h1>site %d</h1>" % number + b" " * SMALL_BYTES)
                return await blobs.store_manifest(self.objects, Manifest({**shared, "index.html": page}))

        manifests = await asyncio.gather(*(manifest_of(number) for number in range(count)))
        await self.pool.execute(_SITES, manifests, "many-")
        return [f"many-{number}.localhost" for number in range(1, count + 1)]

    def edge_megabytes(self) -> float:
        """Return what the edge's process has in memory."""
        pages = int(Path(f"/proc/{self.edge.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    async def _blob(self, data: bytes) -> Entry:
        return Entry(await blobs.store(self.objects, data), len(data))


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[World]:
    """Start the servers; the edge first, for the bare app gives its answers again word for word."""
    async with AsyncExitStack() as exits:
        endpoints = await exits.enter_async_context(EmbeddedStack(folder, {}))
        await migrate(endpoints.postgres_url)
        pool = await open_pool(endpoints.postgres_url)
        exits.push_async_callback(pool.close)
        objects = open_objects(endpoints.object_store_url, ARTIFACTS)
        site, files = _files(), folder / "files"
        _write(files, site)
        await _publish(pool, objects, site)
        ports = {name: port_for(name, folder, 0) for name in ("edge", "bare", "nginx")}
        environ = {
            "PATH": "/usr/bin:/bin",
            "NATS_URL": endpoints.nats_url,
            "POSTGRES_URL": endpoints.postgres_url,
            "OBJECT_STORE_URL": endpoints.object_store_url,
            "DATA_DIR": str(folder),
            "LOG_LEVEL": "warn",
            "EDGE_PORT": str(ports["edge"]),
            "EDGE_URL": "http://{site}.localhost",
            "PORT": str(ports["bare"]),
            "BENCH_ANSWERS": str(folder / "answers"),
        }
        servers = {name: Fetcher(port, "bench-1.localhost") for name, port in ports.items()}
        edge = await _spawned(exits, folder, environ, "services.edge", ports["edge"])
        answers = {path: Kept(*await servers["edge"].answer(path)) for path in SMALL}
        (folder / "answers").write_bytes(msgspec.msgpack.encode(answers))
        await _spawned(exits, folder, environ, "services.cli.benches.bare_app", ports["bare"])
        if program := find_nginx():
            await exits.enter_async_context(nginx(program, folder / "nginx", files, ports["nginx"]))
        else:
            del servers["nginx"]
        yield World(servers, pool, objects, edge)


def _files() -> dict[str, bytes]:
    return {
        "index.html": b"<h1>bench</h1>".ljust(SMALL_BYTES),
        SMALL[1][1:]: b"export {}".ljust(SMALL_BYTES),
        LARGE[1:]: os.urandom(LARGE_BYTES),
    }


def _write(folder: Path, site: dict[str, bytes]) -> None:
    (folder / "assets").mkdir(parents=True)
    for path, data in site.items():
        (folder / path).write_bytes(data)


async def _publish(pool: asyncpg.Pool, objects: Objects, site: dict[str, bytes]) -> None:
    entries = {path: Entry(await blobs.store(objects, data), len(data)) for path, data in site.items()}
    await pool.execute(_SITES, [await blobs.store_manifest(objects, Manifest(entries))], "bench-")


async def _spawned(exits: AsyncExitStack, folder: Path, environ: dict[str, str], module: str, port: int) -> Child:
    child = await Child.spawn(
        [sys.executable, "-m", module],
        folder=Path.cwd(),
        log=folder / "logs" / f"{module}.log",
        stop_signal=signal.SIGTERM,
        environ=environ,
    )
    exits.push_async_callback(child.stop, 15)
    await until_listening(port, child)
    return child
