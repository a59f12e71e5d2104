"""The floor: the same chain of six steps by hand, with nothing but the broker.

Per step one event and one command are published and the message is acknowledged with confirmation;
synchronous writes, the same concurrency, no HTTP, no SQL, no journal check, no projection.
"""

import asyncio
import time
from dataclasses import dataclass

import nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig

STEPS = 6
_BATCH = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """The seconds that each of some runs took, and how long all of them took together."""

    seconds: list[float]
    elapsed: float

    @property
    def rate(self) -> float:
        """Runs a second."""
        return len(self.seconds) / self.elapsed

    def milliseconds(self, share: float) -> float:
        """The time within which this share of the runs ended, 0.5 for the median."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(len(self.seconds) * share))] * 1000

    def line(self, what: str) -> str:
        """The figures for people."""
        p50, p99 = self.milliseconds(0.5), self.milliseconds(0.99)
        return f"{what:<20}  {self.rate:8.1f}/s   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms"

    def figures(self) -> dict[str, float]:
        """The figures for programs."""
        return {
            "count": len(self.seconds),
            "perSecond": round(self.rate, 1),
            "p50Ms": round(self.milliseconds(0.5), 2),
            "p99Ms": round(self.milliseconds(0.99), 2),
        }


def together(samples: list[Sample]) -> Sample:
    """Return several samples as one."""
    return Sample([second for sample in samples for second in sample.seconds], sum(s.elapsed for s in samples))


async def measure_floor(nats_url: str, count: int, concurrency: int) -> Sample:
    """Run `count` chains, `concurrency` at a time, on streams of its own."""
    client = await nats.connect(nats_url)
    jetstream = client.jetstream()
    await jetstream.add_stream(
        StreamConfig(name="floor-queue", subjects=["floor.queue.>"], retention=RetentionPolicy.WORK_QUEUE)
    )
    await jetstream.add_stream(StreamConfig(name="floor-events", subjects=["floor.event.>"]))
    chain = _Chain(jetstream)
    workers = [asyncio.create_task(chain.work(await _consumer(jetstream, step), step)) for step in range(STEPS)]
    started = time.perf_counter()
    numbers = iter(range(count))
    seconds: list[float] = []

    async def load() -> None:
        for number in numbers:
            began = time.perf_counter()
            await chain.run(number)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(load() for _ in range(concurrency)))
    elapsed = time.perf_counter() - started
    await chain.acknowledged()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    await jetstream.delete_stream("floor-queue")
    await jetstream.delete_stream("floor-events")
    await client.close()
    return Sample(seconds, elapsed)


async def _consumer(jetstream: JetStreamContext, step: int) -> JetStreamContext.PullSubscription:
    name = f"step-{step}"
    config = ConsumerConfig(
        durable_name=name, filter_subject=f"floor.queue.{step}.*", ack_policy=AckPolicy.EXPLICIT, ack_wait=30
    )
    await jetstream.add_consumer("floor-queue", config)
    return await jetstream.pull_subscribe_bind(name, "floor-queue")


class _Chain:
    def __init__(self, jetstream: JetStreamContext) -> None:
        self._jetstream = jetstream
        self._ended: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, number: int) -> None:
        ended = self._ended[str(number)] = asyncio.Event()
        await self._publish(f"floor.queue.0.{number}", f"{number}.0")
        await ended.wait()

    async def acknowledged(self) -> None:
        await asyncio.gather(*self._tasks)

    async def work(self, consumer: JetStreamContext.PullSubscription, step: int) -> None:
        while True:
            try:
                messages = await consumer.fetch(_BATCH, timeout=5)
            except TimeoutError:
                continue
            for message in messages:
                task = asyncio.create_task(self._step(message, step))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _step(self, message: Msg, step: int) -> None:
        number = message.subject.rsplit(".", 1)[1]
        event = self._publish(f"floor.event.{number}.{step}", f"{number}.event.{step}")
        if step + 1 < STEPS:
            await asyncio.gather(event, self._publish(f"floor.queue.{step + 1}.{number}", f"{number}.{step + 1}"))
        else:
            await event
            self._ended.pop(number).set()
        await message.ack_sync()

    async def _publish(self, subject: str, message_id: str) -> None:
        await self._jetstream.publish(subject, b"{}", headers={"Nats-Msg-Id": message_id})
