"""What a consumer, a worker and an HTTP service do with what comes while they stop."""

import asyncio
import os
import socket
from pathlib import Path

import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig

from shared.adapters.jetstream.consumer import Consumer
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.http_service import LISTEN_FD, HttpService
from shared.ports import Ports
from tests.pipeline import pipeline, settings_for

MANY = 300
AT_ONCE_SECONDS = 5.0
"""Far less than the ack wait of 30 s."""


async def test_messages_on_their_way_to_a_consumer_that_stops_go_back_at_once(nats_server: str) -> None:
    stopped, other = await nats.connect(nats_server), await nats.connect(nats_server)
    jetstream = other.jetstream()
    await jetstream.add_stream(StreamConfig(name="q", subjects=["q.*"], retention=RetentionPolicy.WORK_QUEUE))
    await jetstream.add_consumer("q", ConsumerConfig(durable_name="c", ack_policy=AckPolicy.EXPLICIT, ack_wait=30))
    never = asyncio.Event()
    arrived: set[bytes] = set()

    async def publish() -> None:
        for number in range(MANY):
            await other.publish("q.a", str(number).encode())
            await other.flush()

    publishing = asyncio.create_task(publish())
    while not publishing.done():
        async with Consumer(stopped, "q", "c") as consumer:
            for message in await consumer.poll(MANY, 0.1, never):
                arrived.add(message.data)
                await message.ack()
    async with Consumer(other, "q", "c") as successor, asyncio.timeout(AT_ONCE_SECONDS):
        while len(arrived) < MANY:
            for message in await successor.poll(MANY, 1, never):
                arrived.add(message.data)
                await message.ack()
    await stopped.close()
    await other.close()


async def test_a_worker_that_stops_lets_what_it_began_finish(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with pipeline(settings_for(nats_server, database_url, tmp_path)) as running:
        running.handlers["build"] = slow = Slow(seconds=1)
        running.start()
        deployment_id = await running.request()
        await asyncio.wait_for(slow.began.wait(), 20)
        await running.stop()
        running.start()
        progress = await running.finished(deployment_id)
    assert (progress.outcome, progress.step("build").attempts, slow.calls) == ("completed", 1, 1)


async def test_a_worker_that_stops_hands_back_what_takes_too_long(
    nats_server: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.worker.GRACE_SECONDS", 0.1)
    async with pipeline(settings_for(nats_server, database_url, tmp_path)) as running:
        running.handlers["build"] = slow = Slow(seconds=60)
        running.start()
        deployment_id = await running.request()
        await asyncio.wait_for(slow.began.wait(), 20)
        await running.stop()
        slow.seconds = 0
        running.start()
        progress = await running.finished(deployment_id, AT_ONCE_SECONDS)
    assert (progress.outcome, progress.step("build").attempts, slow.calls) == ("completed", 2, 2)


class Slow:
    """A handler that takes some time, and tells when it was begun."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.calls = 0
        self.began = asyncio.Event()

    async def __call__(self, command: Command, ports: Ports) -> Outcome:
        self.calls += 1
        self.began.set()
        await asyncio.sleep(self.seconds)
        return Done(command.work)


async def test_a_request_on_its_way_to_an_http_service_that_stops_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv(LISTEN_FD, str(listening.fileno()))
    address = listening.getsockname()
    stopping = asyncio.Event()
    serving = asyncio.create_task(HttpService("hello", hello, *address).run(stopping))
    used = await asyncio.open_connection(*address)
    assert "connection: close" not in await ask(used)
    fresh = await asyncio.open_connection(*address)
    await asyncio.sleep(0.05)
    stopping.set()
    await asyncio.sleep(0.3)
    waiting = await asyncio.open_connection(*address)
    assert "connection: close" in await ask(used)
    assert "connection: close" in await ask(fresh)
    await asyncio.wait_for(serving, 5)
    stopping.clear()
    successor = asyncio.create_task(HttpService("hello", hello, *address).run(stopping))
    assert (await ask(waiting)).startswith("HTTP/1.1 200")
    stopping.set()
    await asyncio.wait_for(successor, 5)
    for _, writer in (used, fresh, waiting):
        writer.close()
    os.close(listening.detach())


async def hello(scope: dict, receive: object, send: object) -> None:
    """An ASGI app that answers everything."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


async def lifespan(receive, send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> str:
    """Send a request; return the answer's head."""
    reader, writer = connection
    writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    await reader.readexactly(2)
    return head.decode().replace("Connection", "connection")
