"""What a gateway's watchers are told: everything, in order and once, read or handed over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from time import time
from uuid import uuid4

import pytest

from services.gateway import watch
from shared.contracts import subjects
from shared.contracts.events import Event, Started
from tests.waiting import until

DEADLINE = 10


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch):
    """One broker without replicas tells of nothing that it cannot be asked for."""
    monkeypatch.setattr(watch, "SETTLED_SECONDS", 0.0)


class Listening:
    """A watcher of one deployment: what it got, and how often the stream was read."""

    def __init__(self, stand) -> None:
        self.deployment_id = f"deploy_{uuid4().hex}"
        self.attempts: list[int] = []
        self.reads = 0
        self._stand = stand
        self._recorded = 0

    async def record(self, count: int) -> None:
        for _ in range(count):
            self._recorded += 1
            started = Started(deployment_id=self.deployment_id, actor="build", at=time(), attempt=self._recorded)
            await self._stand.resources.bus.record(started, "", copy=str(self._recorded))

    async def has_all(self) -> None:
        """Wait until everything recorded has come, in order and once."""
        async with asyncio.timeout(DEADLINE):
            while len(self.attempts) < self._recorded:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert self.attempts == list(range(1, self._recorded + 1))


@asynccontextmanager
async def listening(stand, monkeypatch) -> AsyncIterator[Listening]:
    watcher, bus = Listening(stand), stand.gateway.ports.bus
    history = bus.history

    async def counted(*args, **more):
        watcher.reads += 1
        return await history(*args, **more)

    monkeypatch.setattr(bus, "history", counted)

    async def listen() -> None:
        async with aclosing(stand.gateway.events.follow(watcher.deployment_id)) as batches:
            async for batch in batches:
                watcher.attempts += [attempt_of(event) for _, event in batch]

    listens = asyncio.create_task(listen())
    try:
        yield watcher
    finally:
        listens.cancel()
        await asyncio.wait({listens})


def attempt_of(event: Event) -> int:
    assert isinstance(event, Started)
    return event.attempt


async def test_who_has_read_what_came_before_is_handed_what_comes(stand, monkeypatch):
    async with listening(stand, monkeypatch) as watcher:
        await watcher.record(3)
        await watcher.has_all()
        await watcher.record(1)
        await watcher.has_all()
        reads = watcher.reads
        await watcher.record(20)
        await watcher.has_all()
        assert watcher.reads == reads


async def test_who_has_waited_a_moment_is_handed_the_first_thing_that_happens(stand, monkeypatch):
    monkeypatch.setattr(watch, "SETTLED_SECONDS", 0.1)
    feed = stand.gateway.events

    async def is_settled() -> bool:
        everyone = feed._everyone()
        has_consumer = feed._hints._created is not None
        return has_consumer and bool(everyone) and all(each._handed is not None for each in everyone)

    async with listening(stand, monkeypatch) as watcher:
        await until(is_settled)
        reads = watcher.reads
        await watcher.record(1)
        await watcher.has_all()
        assert watcher.reads == reads


async def test_after_a_hole_in_what_the_consumer_sent_everyone_reads(stand, monkeypatch):
    async with listening(stand, monkeypatch) as watcher:
        await watcher.record(2)
        await watcher.has_all()
        reads = watcher.reads
        stand.gateway.events._hints._next += 1
        await watcher.record(3)
        await watcher.has_all()
        assert watcher.reads > reads


async def test_nothing_is_lost_when_the_consumer_is_gone(stand, monkeypatch):
    async with listening(stand, monkeypatch) as watcher:
        await watcher.record(2)
        await watcher.has_all()
        jetstream = stand.resources.bus.jetstream
        for consumer in await jetstream.consumers_info(subjects.EVENT_STREAM):
            if consumer.name.startswith("gateway-"):
                await jetstream.delete_consumer(subjects.EVENT_STREAM, consumer.name)
        await watcher.record(3)
        await watcher.has_all()
