"""`zepid bench api`: what accepting a deployment costs beside decoding the same body and one INSERT."""

import asyncio
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec
import typer
import uvloop

from infra.dev.child import Child
from infra.dev.data_dir import port_for
from infra.dev.stack import EmbeddedStack, Endpoints
from services.cli.benches.floor import Sample, together
from services.cli.benches.insert_app import TABLE
from services.cli.benches.pipeline import until_listening
from services.cli.benches.posting import posting
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.migrate import migrate
from shared.adapters.postgres.tokens import Tokens

ROUNDS = 5
PACE = 100
"""Requests a second of the measurement of waiting times."""
PACE_SECONDS = 10
_OF_ONE = 20
"""Deployments of each organisation, so that no limit is reached and none need be raised."""
_PROJECTS = """
with made as (
  insert into project (id, name, template_type, user_id, organization_id)
  select id, id, 'custom', 'bench', owner from unnest($1::text[], $2::text[]) as given(id, owner)
  returning id, organization_id
), sites as (
  insert into site (name, project_id, organization_id) select site_name(id), id, organization_id from made
)
insert into snapshot (id, project_id, organization_id, manifest, file_count, total_bytes)
select 'snap_' || id, id, organization_id, md5(id), 1, 1 from made
"""
"""Projects, their sites and a source each, as `POST /projects` and an upload make them."""
_SERVERS = {"gateway": "services.gateway", "floor": "services.cli.benches.insert_app"}


def bench_api(count: int, concurrency: int, *, as_json: bool) -> None:
    """Measure and print; see `zepid bench api --help`."""
    uvloop.run(_bench(count, concurrency, as_json=as_json))


async def _bench(count: int, concurrency: int, *, as_json: bool) -> None:
    """Both take turns, so that a noisy machine disturbs them alike."""
    samples: dict[str, list[Sample]] = {name: [] for name in _SERVERS}
    with tempfile.TemporaryDirectory(prefix="zepid-bench-") as folder:
        async with EmbeddedStack(Path(folder), {}) as endpoints, _running(Path(folder), endpoints) as loads:
            typer.echo(f"Warming up, then {ROUNDS} turns of {count // ROUNDS} at {concurrency} at once …", err=as_json)
            for name in _SERVERS:
                await loads[name].run(concurrency * 4, concurrency)
            for _ in range(ROUNDS):
                for name, taken in samples.items():
                    taken.append(await loads[name].run(count // ROUNDS, concurrency))
            paced = {name: await loads[name].run_paced(PACE * PACE_SECONDS, PACE) for name in _SERVERS}
    ratio = statistics.median(ours.rate / theirs.rate for ours, theirs in zip(*samples.values(), strict=True))
    figures = {name: together(taken) for name, taken in samples.items()}
    if as_json:
        typer.echo(_json(figures, paced, concurrency, ratio))
        return
    for name, sample in figures.items():
        typer.echo(sample.line(f"{name}, {concurrency} at once"))
    for name, sample in paced.items():
        typer.echo(sample.line(f"{name} at {PACE}/s"))
    typer.echo(f"ratio to the floor    {ratio:.2f} (median of {ROUNDS} turns)")


def _json(figures: dict[str, Sample], paced: dict[str, Sample], concurrency: int, ratio: float) -> str:
    result: dict[str, object] = {name: sample.figures() for name, sample in figures.items()}
    result |= {f"{name}At{PACE}PerSecond": sample.figures() for name, sample in paced.items()}
    result |= {"concurrency": concurrency, "ratio": round(ratio, 3)}
    return msgspec.json.encode(result).decode()


@dataclass(frozen=True, slots=True)
class Load:
    """Posts orders for new projects to one server."""

    port: int
    token: str
    pool: asyncpg.Pool

    async def run(self, count: int, concurrency: int) -> Sample:
        """Post `count` orders, `concurrency` at a time."""
        orders = iter(await self._orders(count))
        seconds: list[float] = []

        async def post_in_turn() -> None:
            async with posting(self.port, self.token) as post:
                for order in orders:
                    began = time.perf_counter()
                    await post(order)
                    seconds.append(time.perf_counter() - began)

        started = time.perf_counter()
        await asyncio.gather(*(post_in_turn() for _ in range(concurrency)))
        return Sample(seconds, time.perf_counter() - started)

    async def run_paced(self, count: int, rate: int) -> Sample:
        """Post `count` orders, `rate` a second whether or not earlier ones are answered; late ones count as waiting."""
        seconds: list[float] = []
        started = time.perf_counter()
        turns: Iterator[tuple[int, bytes]] = iter(enumerate(await self._orders(count)))

        async def post_in_turn() -> None:
            async with posting(self.port, self.token) as post:
                for number, order in turns:
                    due = started + number / rate
                    await asyncio.sleep(due - time.perf_counter())
                    await post(order)
                    seconds.append(time.perf_counter() - due)

        started = time.perf_counter()
        await asyncio.gather(*(post_in_turn() for _ in range(rate)))
        return Sample(seconds, time.perf_counter() - started)

    async def _orders(self, count: int) -> list[bytes]:
        names = [f"bench-{uuid4().hex}" for _ in range(count)]
        organizations = [f"bench-{uuid4().hex}" for _ in range(0, count, _OF_ONE)]
        owners = [organizations[number // _OF_ONE] for number in range(count)]
        await self.pool.execute(_PROJECTS, names, owners)
        return [
            msgspec.json.encode({"projectId": name, "orgId": owner, "userId": "bench"})
            for name, owner in zip(names, owners, strict=True)
        ]


@asynccontextmanager
async def _running(folder: Path, endpoints: Endpoints) -> AsyncIterator[dict[str, Load]]:
    """Start both servers on the embedded stack, each as a process of its own, and a load for each."""
    await migrate(endpoints.postgres_url)
    async with AsyncExitStack() as stack:
        pool = await open_pool(endpoints.postgres_url)
        stack.push_async_callback(pool.close)
        await pool.execute(TABLE)
        _, token = await Tokens(pool).create("bench", ["admin"], None, "bench")
        ports = {name: port_for(name, folder, 0) for name in _SERVERS}
        for name, module in _SERVERS.items():
            server = await Child.spawn(
                [sys.executable, "-m", module],
                folder=Path.cwd(),
                log=folder / "logs" / f"{name}.log",
                stop_signal=signal.SIGTERM,
                environ=_environ(folder, endpoints, ports[name]),
            )
            stack.push_async_callback(server.stop, 15)
            await until_listening(ports[name], server)
        yield {name: Load(ports[name], token, pool) for name in _SERVERS}


def _environ(folder: Path, endpoints: Endpoints, port: int) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "NATS_URL": endpoints.nats_url,
        "POSTGRES_URL": endpoints.postgres_url,
        "OBJECT_STORE_URL": endpoints.object_store_url,
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "LOG_LEVEL": "warn",
    }
