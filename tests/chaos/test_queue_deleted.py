"""Streams are deleted in mid-load: every deployment still ends, and is seen to have ended."""

import asyncio
import random
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from infra.dev.data_dir import port_for
from services.gateway.feed import QUIET_SECONDS
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.contracts.subjects import EVENT_STREAM, QUEUE_STREAM
from shared.ports import Ports
from tests.e2e.test_life_cycle import served
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until

DEPLOYMENTS = 200
AT_ONCE = 50
LEAST_COMPLETED = 0.9
WITHIN_SECONDS = 120.0
STEPS_THAT_TAKE_TIME = ("validate", "sandbox", "sync", "build")


@pytest.fixture(autouse=True)
def frequent_repairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reconciler looks every second instead of every ten, and is less patient with what is not shown."""
    monkeypatch.setattr("services.reconciler.reconciler.TICK_SECONDS", 1.0)
    monkeypatch.setattr("services.reconciler.unshown.QUIET_SECONDS", 5.0)


async def takes_a_moment(command: Command, ports: Ports) -> Outcome:
    await asyncio.sleep(random.uniform(0.05, 0.3))
    return Done(command.work)


async def ended(running: Pipeline, count: int) -> bool:
    return bool(
        await running.resources.pool.fetchval("select count(*) from deployment where outcome is not null") >= count
    )


async def deleted(running: Pipeline, stream: str) -> bool:
    """Delete a stream; not if it is still missing since the last time."""
    try:
        return await running.resources.bus.jetstream.delete_stream(stream)
    except NotFoundError:
        return False


async def delete_in_mid_load(running: Pipeline, stream: str, after: tuple[int, ...]) -> None:
    """Delete a stream each time that so many deployments have ended and it is there."""
    for count in after:
        await until(partial(ended, running, count), WITHIN_SECONDS)
        await until(partial(deleted, running, stream), WITHIN_SECONDS)


async def run_through(running: Pipeline, count: int, stream: str, after: tuple[int, ...]) -> Counter[str | None]:
    """Run deployments to their shown ends while a stream is deleted; return how many ended how."""
    running.handlers |= dict.fromkeys(STEPS_THAT_TAKE_TIME, takes_a_moment)
    running.start()
    ids = [await running.request() for _ in range(count)]
    async with asyncio.timeout(WITHIN_SECONDS):
        await delete_in_mid_load(running, stream, after)
        shown = await asyncio.gather(*(running.finished(deployment_id, WITHIN_SECONDS) for deployment_id in ids))
    decided = Counter([await running.outcome(deployment_id) for deployment_id in ids])
    assert decided == Counter(progress.outcome for progress in shown)
    return decided


async def test_the_queue_is_deleted_twice(nats_server: str, database_url: str, tmp_path: Path) -> None:
    settings = settings_for(nats_server, database_url, tmp_path, max_concurrent_deployments=AT_ONCE)
    async with pipeline(settings) as running:
        outcomes = await run_through(running, DEPLOYMENTS, QUEUE_STREAM, after=(40, 120))
    assert sum(outcomes.values()) == DEPLOYMENTS
    assert outcomes["completed"] >= LEAST_COMPLETED * DEPLOYMENTS


async def test_the_journal_is_deleted_twice(nats_server: str, database_url: str, tmp_path: Path) -> None:
    settings = settings_for(nats_server, database_url, tmp_path, max_concurrent_deployments=AT_ONCE)
    async with pipeline(settings) as running:
        outcomes = await run_through(running, DEPLOYMENTS // 2, EVENT_STREAM, after=(10, 60))
    assert outcomes["completed"] >= LEAST_COMPLETED * DEPLOYMENTS // 2


class Held:
    """A step that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, command: Command, ports: Ports) -> Outcome:
        self.reached.set()
        await self.released.wait()
        return Done(command.work)


async def test_who_watches_goes_on_seeing_when_the_journal_is_deleted(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, database_url, tmp_path, port=port_for("gateway", tmp_path, 0))
    async with pipeline(settings) as running, served(running) as caller:
        running.handlers["build"] = build = Held()
        running.start()
        deployment_id = await caller.deploy(await running.project())
        watching = asyncio.create_task(caller.follow(deployment_id))
        await asyncio.wait_for(build.reached.wait(), 20)
        jetstream = running.resources.bus.jetstream
        before = await jetstream.stream_info(EVENT_STREAM)
        await jetstream.delete_stream(EVENT_STREAM)

        async def is_there_again() -> bool:
            try:
                return (await jetstream.stream_info(EVENT_STREAM)).created != before.created
            except NotFoundError:
                return False

        await until(is_there_again, WITHIN_SECONDS)
        build.released.set()
        async with asyncio.timeout(QUIET_SECONDS / 2):
            watched = await watching
    assert (watched.seen[-1], watched.ends) == (("completed", 100), 1)
