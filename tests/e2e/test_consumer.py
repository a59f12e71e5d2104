"""Reading a pull consumer: prompt through expiries and restarts, never more than asked for."""

import asyncio
import random
import time

import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig

from infra.dev.nats import NatsServer
from shared.adapters.jetstream.consumer import Consumer


async def connected(url: str) -> nats.NATS:
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.05)
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name="q", subjects=["q.*"], retention=RetentionPolicy.WORK_QUEUE))
    await jetstream.add_consumer(
        "q", ConsumerConfig(durable_name="c", ack_policy=AckPolicy.EXPLICIT, filter_subject="q.*")
    )
    return client


async def test_a_message_is_handed_over_at_once_however_long_it_was_quiet(
    nats_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.jetstream.consumer.LONGEST_REQUEST_SECONDS", 0.2)
    client = await connected(nats_server)
    stopping = asyncio.Event()
    delays: list[float] = []
    async with Consumer(client, "q", "c") as consumer:

        async def read() -> None:
            while len(delays) < 30:
                for message in await consumer.poll(10, 30, stopping):
                    delays.append(time.time() - float(message.data))
                    await message.ack()

        reading = asyncio.create_task(read())
        for _ in range(30):
            await asyncio.sleep(random.uniform(0.01, 0.3))
            await client.jetstream().publish("q.a", str(time.time()).encode())
        await asyncio.wait_for(reading, 10)
    await client.close()
    assert sorted(delays)[-2] < 0.15, sorted(delays)[-5:]


async def test_no_more_is_delivered_than_was_asked_for(nats_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.adapters.jetstream.consumer.LONGEST_REQUEST_SECONDS", 0.2)
    client = await connected(nats_server)
    stopping = asyncio.Event()
    async with Consumer(client, "q", "c") as consumer:
        for _ in range(4):
            assert await consumer.poll(3, 0.3, stopping) == []
        for number in range(20):
            await client.jetstream().publish("q.a", str(number).encode())
        first = await consumer.poll(3, 5, stopping)
        await asyncio.sleep(0.5)
        info = await client.jetstream().consumer_info("q", "c")
        assert len(first) + len(consumer.received(20)) <= 3
        assert info.num_ack_pending <= 3
    await client.close()


async def test_what_came_too_late_goes_back_to_the_broker(nats_server: str) -> None:
    client = await connected(nats_server)
    stopping = asyncio.Event()
    async with Consumer(client, "q", "c") as consumer:
        polling = asyncio.create_task(consumer.poll(5, 5, stopping))
        await asyncio.sleep(0.1)
        stopping.set()
        await client.jetstream().publish("q.a", b"late")
        assert await polling == []
        await asyncio.sleep(0.1)
    async with Consumer(client, "q", "c") as successor:
        assert len(await asyncio.wait_for(successor.poll(5, 5, asyncio.Event()), 2)) == 1
    await client.close()


async def test_a_restarted_broker_delivers_within_seconds(nats_process: NatsServer) -> None:
    client = await connected(nats_process.url)
    stopping = asyncio.Event()
    async with Consumer(client, "q", "c") as consumer:
        assert await consumer.poll(5, 0.2, stopping) == []
        await nats_process.stop()
        await nats_process.start()
        while not client.is_connected:  # noqa: ASYNC110 - the client tells nobody
            await asyncio.sleep(0.02)
        await client.jetstream().publish("q.a", b"after")
        async with asyncio.timeout(8):
            while not (messages := await consumer.poll(5, 5, stopping)):
                pass
        assert messages[0].data == b"after"
    await client.close()


async def test_what_has_come_meanwhile_counts_as_asked_for(nats_server: str) -> None:
    client = await connected(nats_server)
    stopping = asyncio.Event()
    async with Consumer(client, "q", "c") as consumer:
        for _ in range(3):
            polling = asyncio.create_task(consumer.poll(4, 5, stopping))
            await asyncio.sleep(0.05)
            for number in range(8):
                await client.jetstream().publish("q.a", str(number).encode())
            running = await polling
            while len(running) < 4:
                await asyncio.sleep(0.05)
                running += await consumer.poll(4 - len(running), 5, stopping)
            info = await client.jetstream().consumer_info("q", "c")
            assert info.num_ack_pending <= 4
            for message in running:
                await message.ack_sync()
    await client.close()
