"""What breaks: each kind of fault strikes again and again, at moments that the seed decides."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg
import nats

from infra.dev.server import Server
from services.cli.benches.chaos import disk
from services.cli.benches.chaos.children import child, signal_child
from services.cli.benches.chaos.stack import REPLICAS, Stack
from shared.adapters.jetstream.consumer import BROKER_AWAY
from shared.adapters.postgres.database import DATABASE_FAILED
from shared.adapters.sandboxes.local.processes import identify
from shared.pipeline import ACK_WAIT_SECONDS
from shared.telemetry import log
from shared.times import iso_time

_AGAIN_SECONDS = 0.5
_SQL_SECONDS = 5.0

Strike = Callable[[Stack, random.Random], Awaitable[str]]
"""Does it and returns what was done, "" where there was nothing to strike at just now."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault; `every` is the mean time between two, in seconds."""

    name: str
    every: float
    what: str
    strike: Strike


@dataclass(frozen=True, slots=True)
class Struck:
    """One fault that happened; times in seconds since 1970."""

    name: str
    what: str
    began: float
    ended: float


@dataclass(slots=True)
class Storm:
    """Lets faults strike until told to stop; what has begun is brought to its end."""

    stack: Stack
    faults: list[Fault]
    seed: int
    struck: list[Struck] = field(default_factory=list)

    async def run(self, stopping: asyncio.Event) -> None:
        """Strike until `stopping` is set."""
        await asyncio.gather(*(self._repeat(fault, stopping) for fault in self.faults))

    @property
    def last_at(self) -> float:
        """When the last fault struck."""
        return max((struck.began for struck in self.struck), default=0.0)

    async def _repeat(self, fault: Fault, stopping: asyncio.Event) -> None:
        rng = random.Random(f"{self.seed}.{fault.name}")
        pause = rng.uniform(0.1, 0.5) * fault.every
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause)
            if stopping.is_set():
                return
            began = time.time()
            what = await fault.strike(self.stack, rng)
            pause = rng.uniform(0.5, 1.5) * fault.every if what else _AGAIN_SECONDS
            if what:
                self.struck.append(Struck(fault.name, what, began, time.time()))
                log.info("fault", kind=fault.name, what=what, began=iso_time(began))


async def kill_service(stack: Stack, rng: random.Random) -> str:
    """Kill -9 one process of a service."""
    pids = stack.services.pids()
    name = rng.choice(sorted(pids)) if pids else ""
    return f"kill -9 {name}" if name and signal_child(pids[name], signal.SIGKILL) else ""


async def restart_nats(stack: Stack, rng: random.Random) -> str:
    """End the broker, the hard way or the soft one; its supervisor starts it again."""
    return await _end_server(stack.servers.nats, rng)


async def restart_postgres(stack: Stack, rng: random.Random) -> str:
    """End the database server likewise."""
    return await _end_server(stack.servers.postgres, rng)


async def delete_queue(stack: Stack, rng: random.Random) -> str:
    """Delete the queue stream with everything in it."""
    name = stack.settings.deployment_queue_name
    try:
        client = await nats.connect(stack.settings.nats_url, allow_reconnect=False)
        try:
            held = (await client.jetstream().stream_info(name)).state.messages
            await client.jetstream().delete_stream(name)
        finally:
            await client.close()
    except BROKER_AWAY:
        return ""
    return f"delete stream {name} ({held} messages)"


async def drop_connections(stack: Stack, rng: random.Random) -> str:
    """Cut all connections to the broker or the database."""
    way = rng.choice(("nats", "postgres", "backends"))
    if way == "backends":
        return await _terminate_backends(stack)
    proxy = stack.nats_proxy if way == "nats" else stack.postgres_proxy
    count = proxy.drop()
    return f"cut {count} connections to {way}" if count else ""


async def pause_worker(stack: Stack, rng: random.Random) -> str:
    """Stop a worker for longer than the broker waits for it, then let it go on: a zombie."""
    workers = {name: pid for name, pid in stack.services.pids().items() if name.partition(".")[0] in REPLICAS}
    name = rng.choice(sorted(workers)) if workers else ""
    process = child(workers[name]) if name else None
    if process is None:
        return ""
    seconds = ACK_WAIT_SECONDS + rng.uniform(2, 6)
    signal_child(process.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        alive = identify(process.pid) == process and signal_child(process.pid, signal.SIGCONT)
    return f"stop {name} for {seconds:.0f} s" + ("" if alive else ", killed meanwhile")


async def fill_disk(stack: Stack, rng: random.Random) -> str:
    """Fill the small disk of the object store, and free it after some seconds."""
    folder = stack.folder / "objects"
    try:
        await asyncio.to_thread(disk.fill, folder)
        await asyncio.sleep(rng.uniform(2, 6))
    finally:
        await asyncio.to_thread(disk.free, folder)
    return "fill the object store's disk"


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("kill", 3.0, "kill -9 of a random service process", kill_service),
        Fault("nats", 12.0, "kill -9 or restart of the broker", restart_nats),
        Fault("postgres", 12.0, "kill -9 or restart of the database", restart_postgres),
        Fault("queue", 20.0, "deletion of the queue stream", delete_queue),
        Fault("connections", 7.0, "cut connections to broker or database", drop_connections),
        Fault("pause", 15.0, "SIGSTOP of a worker beyond the ack wait, then SIGCONT", pause_worker),
        Fault("disk", 20.0, "the object store's disk full for some seconds", fill_disk),
    )
}


async def _end_server(server: Server | None, rng: random.Random) -> str:
    if server is None:
        return ""
    way = rng.choice((signal.SIGKILL, server.stop_signal))
    return f"{way.name} {server.name}" if signal_child(server.pid, way) else ""


async def _terminate_backends(stack: Stack) -> str:
    try:
        async with asyncio.timeout(_SQL_SECONDS):
            connection = await asyncpg.connect(stack.settings.postgres_url)
            count = await connection.fetchval(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            await connection.close()
    except (*DATABASE_FAILED, TimeoutError):
        return ""
    return f"pg_terminate_backend of {count}"
