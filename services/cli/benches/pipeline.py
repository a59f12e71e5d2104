"""`zepid bench pipeline`: no-op deployments through HTTP to their outcome, and the floor beside it."""

import asyncio
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec
import nats
import typer
import uvloop
from nats.aio.msg import Msg

from infra.dev.child import Child
from infra.dev.data_dir import port_for
from infra.dev.stack import EmbeddedStack, Endpoints
from services.cli.benches.floor import Sample, measure_floor, together
from services.cli.benches.noop_stack import STEP_CONCURRENCY
from services.cli.benches.posting import Post, posting
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.migrate import migrate
from shared.adapters.postgres.tokens import Tokens
from shared.contracts.subjects import deployment_in

ORGANIZATION = "bench"
IDLE_COUNT = 100
ROUNDS = 5
RAISED = {
    "MAX_CONCURRENT_DEPLOYMENTS": "1000000",
    "MAX_CONCURRENT_PER_ORGANIZATION": "1000000",
    "MAX_WAITING_PER_ORGANIZATION": "1000000",
    "MAX_BATCH_SIZE": "100",
    "LOG_LEVEL": "warn",
}
"""Settings that would otherwise refuse or hold back the load; named in the output."""
_ENDED = "deployment.event.*.*.ended"
_READY_SECONDS = 60.0


def bench_pipeline(count: int, concurrency: int, *, as_json: bool) -> None:
    """Measure and print; see `zepid bench pipeline --help`."""
    uvloop.run(_bench(count, concurrency, as_json=as_json))


async def _bench(count: int, concurrency: int, *, as_json: bool) -> None:
    """Floor and load take turns, so that a noisy machine disturbs both alike."""
    floors: list[Sample] = []
    loads: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="zepid-bench-") as folder:
        async with EmbeddedStack(Path(folder), {}) as endpoints, _running(Path(folder), endpoints) as load:
            _say(as_json, f"Limits raised for the load: {_raised()}")
            _say(as_json, f"Warming up, then {IDLE_COUNT} one after the other, then {count} at {concurrency} at once …")
            await load.run(concurrency * 2, concurrency)
            idle = await load.run(IDLE_COUNT, 1)
            for _ in range(ROUNDS):
                floors.append(await measure_floor(endpoints.nats_url, count // ROUNDS, concurrency))
                loads.append(await load.run(count // ROUNDS, concurrency))
    ratio = statistics.median(load.rate / floor.rate for load, floor in zip(loads, floors, strict=True))
    figures = {"idle": idle, "load": together(loads), "floor": together(floors)}
    if as_json:
        typer.echo(_json(figures, concurrency, ratio))
        return
    typer.echo(figures["idle"].line("one at a time"))
    typer.echo(figures["load"].line(f"{concurrency} at once"))
    typer.echo(figures["floor"].line(f"floor, {concurrency} at once"))
    typer.echo(f"ratio to the floor    {ratio:.2f} (median of {ROUNDS} turns)")


def _json(figures: dict[str, Sample], concurrency: int, ratio: float) -> str:
    result: dict[str, object] = {name: sample.figures() for name, sample in figures.items()}
    result |= {"concurrency": concurrency, "ratio": round(ratio, 3), "raised": _raised()}
    return msgspec.json.encode(result).decode()


def _raised() -> str:
    return ", ".join([*(f"{name}={value}" for name, value in RAISED.items()), f"{STEP_CONCURRENCY} commands a step"])


def _say(as_json: bool, text: str) -> None:
    typer.echo(text, err=as_json)


class Load:
    """Posts deployments and waits for each one's `ended` event."""

    def __init__(self, port: int, token: str, pool: asyncpg.Pool) -> None:
        self._port = port
        self._token = token
        self._pool = pool
        self._ended: dict[str, asyncio.Future[float]] = {}

    async def hear(self, message: Msg) -> None:
        """Note that a deployment ended; the answer to its POST may come later than that."""
        self._future(deployment_in(message.subject)).set_result(time.perf_counter())

    async def run(self, count: int, concurrency: int) -> Sample:
        """Deploy `count` new projects, `concurrency` at a time."""
        projects = iter(await self._projects(count))
        seconds: list[float] = []

        async def deploy_in_turn() -> None:
            async with posting(self._port, self._token) as post:
                for project in projects:
                    seconds.append(await self._deploy(post, project))

        started = time.perf_counter()
        await asyncio.gather(*(deploy_in_turn() for _ in range(concurrency)))
        return Sample(seconds, time.perf_counter() - started)

    async def _deploy(self, post: Post, project: str) -> float:
        body = msgspec.json.encode({"projectId": project, "orgId": ORGANIZATION, "userId": "bench"})
        began = time.perf_counter()
        deployment_id = msgspec.json.decode(await post(body))["deploymentId"]
        ended = await self._future(deployment_id)
        del self._ended[deployment_id]
        return ended - began

    def _future(self, deployment_id: str) -> asyncio.Future[float]:
        if deployment_id not in self._ended:
            self._ended[deployment_id] = asyncio.get_running_loop().create_future()
        return self._ended[deployment_id]

    async def _projects(self, count: int) -> list[str]:
        names = [f"bench-{uuid4().hex}" for _ in range(count)]
        await self._pool.execute(
            "insert into project (id, name, template_type, user_id, organization_id)"
            " select id, id, 'custom', 'bench', $2 from unnest($1::text[]) as id",
            names,
            ORGANIZATION,
        )
        return names


@asynccontextmanager
async def _running(folder: Path, endpoints: Endpoints) -> AsyncIterator[Load]:
    """Start the services on the embedded stack and a load that knows their address."""
    await migrate(endpoints.postgres_url)
    pool = await open_pool(endpoints.postgres_url)
    _, token = await Tokens(pool).create("bench", ["admin"], None, "bench")
    port = port_for("gateway", folder, 0)
    services = await Child.spawn(
        [sys.executable, "-m", "services.cli.benches.noop_stack"],
        folder=Path.cwd(),
        log=folder / "logs" / "services.log",
        stop_signal=signal.SIGTERM,
        environ=environ_of(folder, endpoints, port),
    )
    client = await nats.connect(endpoints.nats_url)
    try:
        load = Load(port, token, pool)
        await client.subscribe(_ENDED, cb=load.hear)
        await until_listening(port, services)
        yield load
    finally:
        await client.close()
        await services.stop(15)
        await pool.close()


def environ_of(folder: Path, endpoints: Endpoints, port: int) -> dict[str, str]:
    """Return the settings of services on the embedded stack, with limits that hold nothing back."""
    return {
        "PATH": "/usr/bin:/bin",
        "NATS_URL": endpoints.nats_url,
        "POSTGRES_URL": endpoints.postgres_url,
        "OBJECT_STORE_URL": endpoints.object_store_url,
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "SANDBOX_BUILDER_DEFAULT_PROVIDER": "noop",
        "PUBLISHER": "noop",
        **RAISED,
    }


async def until_listening(port: int, services: Child) -> None:
    """Wait for a port of this host to be connected to; raises RuntimeError when its process ends or takes too long."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if services.exit_code is not None:
                raise RuntimeError(f"the services ended:\n{services.last_words()}") from None
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise RuntimeError(f"the services do not listen on port {port}:\n{services.last_words()}")
