"""`zepid bench watch`: many event streams on one gateway while no-op deployments run."""

import asyncio
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec
import typer
import uvloop

from infra.dev.child import Child
from infra.dev.data_dir import port_for
from infra.dev.stack import EmbeddedStack
from services.cli.benches.floor import Sample
from services.cli.benches.pipeline import ORGANIZATION, environ_of, until_listening
from services.cli.benches.posting import posting
from services.cli.benches.watchers import Watcher, open_watchers
from services.cli.errors import FAILED
from services.gateway.status import render, without_time
from shared.adapters.jetstream.bus import Bus, decode_event
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.migrate import migrate
from shared.adapters.postgres.overview import Overview
from shared.adapters.postgres.tokens import Tokens
from shared.contracts import subjects
from shared.projection import apply
from shared.settings import load_settings

LATEST_MS = 150.0
LARGEST_KB = 60.0
AT_ONCE = "5"
"""How many are admitted at a time: the setting's default."""
_DEADLINE_SECONDS = 120.0


class Figures(msgspec.Struct, frozen=True, rename="camel"):
    """What was measured; `lost` counts streams that did not show every change in order."""

    watchers: int
    deployments: int
    events: int
    lost: int
    p50_ms: float
    p99_ms: float
    kilobytes_per_watcher: float

    @property
    def hold(self) -> bool:
        """Whether nothing was lost, late or large."""
        return not self.lost and self.p99_ms <= LATEST_MS and self.kilobytes_per_watcher <= LARGEST_KB


def bench_watch(watchers: int, deployments: int, *, as_json: bool) -> None:
    """Measure and print; see `zepid bench watch --help`."""
    figures = uvloop.run(_bench(watchers, deployments))
    if as_json:
        typer.echo(msgspec.json.encode(figures))
    else:
        typer.echo(f"{figures.watchers} watchers of {figures.deployments} deployments, {figures.events} events shown")
        typer.echo(f"lost        {figures.lost} streams")
        typer.echo(f"to socket   p50 {figures.p50_ms:.1f} ms   p99 {figures.p99_ms:.1f} ms (at most {LATEST_MS:g})")
        typer.echo(f"memory      {figures.kilobytes_per_watcher:.1f} KB a watcher (at most {LARGEST_KB:g})")
    if not figures.hold:
        raise typer.Exit(FAILED)


async def _bench(count: int, deployments: int) -> Figures:
    """Accept deployments while admission is paused, open the streams, then let everything run."""
    async with _running() as system:
        await _deploy(system, 1)
        await system.overview.resume(None)
        await _watched(system, await _deploy(system, 1), 1)
        await system.overview.pause(None, "bench")
        ids = await _deploy(system, deployments)
        before = _resident_kilobytes(system.gateway)
        watchers = await _opened(system, ids, count)
        await system.overview.resume(None)
        await _all_closed(watchers)
        largest = _resident_kilobytes(system.gateway) - before
        return await _figures(system, ids, watchers, largest)


@dataclass(frozen=True, slots=True)
class _System:
    """One gateway as a process of its own, and the other services in another."""

    port: int
    token: str
    gateway: Child
    pool: asyncpg.Pool
    bus: Bus

    @property
    def overview(self) -> Overview:
        return Overview(self.pool)


@asynccontextmanager
async def _running() -> AsyncIterator[_System]:
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="zepid-bench-")))
        endpoints = await exits.enter_async_context(EmbeddedStack(folder, {}))
        await migrate(endpoints.postgres_url)
        pool = await open_pool(endpoints.postgres_url)
        exits.push_async_callback(pool.close)
        _, token = await Tokens(pool).create("bench", ["admin"], None, "bench")
        await Overview(pool).pause(None, "bench")
        environ = environ_of(folder, endpoints, port_for("gateway", folder, 0))
        environ["MAX_CONCURRENT_DEPLOYMENTS"] = AT_ONCE
        others = ["services.cli.benches.noop_stack", "gateway"]
        gateway = await _spawned(exits, folder, environ, "services.gateway")
        await _spawned(exits, folder, environ, *others)
        settings = load_settings({}, nats_url=endpoints.nats_url, postgres_url=endpoints.postgres_url)
        bus = await Bus.connect(settings, "bench")
        exits.push_async_callback(bus.close)
        await until_listening(int(environ["PORT"]), gateway)
        yield _System(int(environ["PORT"]), token, gateway, pool, bus)


async def _spawned(exits: AsyncExitStack, folder: Path, environ: dict[str, str], *module: str) -> Child:
    log = folder / "logs" / f"{module[0]}.log"
    command = [sys.executable, "-m", *module]
    child = await Child.spawn(command, folder=Path.cwd(), log=log, stop_signal=signal.SIGTERM, environ=environ)
    exits.push_async_callback(child.stop, 15)
    return child


async def _deploy(system: _System, count: int) -> list[str]:
    """Record `count` deployments, each of a new project; return their ids."""
    names = [f"bench-{uuid4().hex}" for _ in range(count)]
    await system.pool.execute(
        "insert into project (id, name, template_type, user_id, organization_id)"
        " select id, id, 'custom', 'bench', $2 from unnest($1::text[]) as id",
        names,
        ORGANIZATION,
    )
    async with posting(system.port, system.token) as post:
        orders = [{"projectId": name, "orgId": ORGANIZATION, "userId": "bench"} for name in names]
        return [msgspec.json.decode(await post(msgspec.json.encode(order)))["deploymentId"] for order in orders]


async def _opened(system: _System, ids: list[str], count: int) -> list[Watcher]:
    paths = [f"/deploy/{ids[number % len(ids)]}/events" for number in range(count)]
    return await open_watchers(system.port, system.token, paths)


async def _watched(system: _System, ids: list[str], count: int) -> None:
    """Warm up: what is loaded once must not count as a watcher's memory."""
    await _all_closed(await _opened(system, ids, count))


async def _all_closed(watchers: list[Watcher]) -> None:
    async with asyncio.timeout(_DEADLINE_SECONDS):
        await asyncio.gather(*(watcher.closed for watcher in watchers))


def _resident_kilobytes(process: Child) -> float:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


async def _figures(system: _System, ids: list[str], watchers: list[Watcher], kilobytes: float) -> Figures:
    stories = {deployment_id: await _story(system.bus, deployment_id) for deployment_id in ids}
    seconds, lost = [], Counter[bool]()
    for number, watcher in enumerate(watchers):
        story = stories[ids[number % len(ids)]]
        numbered = [seen for seen in watcher.seen() if seen.sequence]
        lost[[(seen.sequence, seen.name) for seen in numbered] != [*story, (list(story)[-1][0], "end")]] += 1
        seconds += [seen.at - story[seen.sequence, "status"] for seen in numbered if seen.name == "status"]
    sample = Sample(seconds, 1.0)
    return Figures(
        watchers=len(watchers),
        deployments=len(ids),
        events=len(seconds),
        lost=lost[True],
        p50_ms=round(sample.milliseconds(0.5), 1),
        p99_ms=round(sample.milliseconds(0.99), 1),
        kilobytes_per_watcher=round(kilobytes / len(watchers), 1),
    )


async def _story(bus: Bus, deployment_id: str) -> dict[tuple[int, str], float]:
    """Return the events that change what people see: (sequence, `status`) → when the journal took it."""
    story, progress, shown = {}, None, None
    for stored in await bus.history(subjects.EVENT_STREAM, subjects.events_of(deployment_id)):
        progress = apply(progress, decode_event(stored.data), stored.sequence)
        body = without_time(render(deployment_id, 0.0, progress, 0.0))
        if body != shown:
            story[stored.sequence, "status"] = datetime.fromisoformat(stored.headers["Nats-Time-Stamp"]).timestamp()
        shown = body
        if progress.finished:
            break
    return story
