"""A flood of messages that nobody can read: each is kept with why, nobody dies of it, and the good ones flow on."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import msgspec
import nats.errors
import nats.js.errors
import pytest
from structlog.testing import capture_logs

from shared.adapters.jetstream.bus import Bus
from shared.adapters.jetstream.dead_letters import DeadLetters
from shared.burial import INVALID_MESSAGE
from shared.contracts import subjects
from shared.contracts.messages import SCHEMA_VERSION, Command, Work
from shared.pipeline import BY_NAME
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until

BAD = 2000
GOOD = 60
TURNS = 5
AT_ONCE = 20
ALL_COMMANDS = "deployment.queue.*.*"
LEAST_SHARE = 0.6
"""0.8 holds on a quiet machine; this bound forgives a busy one."""


def unreadable(step: str, deployment_id: str, number: int) -> bytes:
    """One of five kinds of message that a worker cannot follow."""
    command = Command(
        deployment_id=deployment_id, project_id="p", organization_id="o", step=step, deadline=0, work=Work(source="")
    )
    kinds = (
        b"not JSON",
        b'{"deploymentId": "\xff\xfe"}',
        b'{"deploymentId": 1}',
        msgspec.json.encode(msgspec.structs.replace(command, v=SCHEMA_VERSION + 1)),
        msgspec.json.encode(msgspec.structs.replace(command, step="paint")),
    )
    return kinds[number % len(kinds)]


async def flood(bus: Bus, numbers: range) -> None:
    """Publish unreadable messages to every step."""
    for number in numbers:
        step = tuple(BY_NAME)[number % len(BY_NAME)]
        data = unreadable(step, f"bad-{number}", number)
        await bus.client.publish(subjects.command(step, f"bad-{number}"), data)
    await bus.client.flush()


async def seconds_for(running: Pipeline, projects: list[str]) -> float:
    """How long good deployments of these projects take, a fixed number at a time; each must complete."""
    places = asyncio.Semaphore(AT_ONCE)

    async def deploy(project: str) -> None:
        async with places:
            deployment_id = await running.request(project)

            async def is_free() -> bool:
                row = "select outcome from deployment where id = $1 and freed_at is not null"
                return bool(await running.resources.pool.fetchval(row, deployment_id) == "completed")

            await until(is_free, 120)

    began = time.monotonic()
    await asyncio.gather(*(deploy(project) for project in projects))
    return time.monotonic() - began


async def share_kept(running: Pipeline) -> float:
    """The rate of good deployments in floods, as a share of their usual rate; taking turns evens out a busy machine."""
    usual = flooded = 0.0
    bus = running.resources.bus
    queue = running.resources.settings.deployment_queue_name
    projects = [await running.project() for _ in range(GOOD)]
    await seconds_for(running, projects)
    for turn in range(TURNS):
        usual += await seconds_for(running, projects)
        await flood(bus, range(BAD * turn // TURNS, BAD * (turn + 1) // TURNS))
        flooded += await seconds_for(running, projects)
        assert await bus.count(queue, ALL_COMMANDS) > 0, "the flood was over too early to be measured"

        async def is_buried() -> bool:
            return await bus.count(queue, ALL_COMMANDS) == 0

        await until(is_buried, 60)
    done = GOOD * TURNS
    print(f"{done / usual:.0f}/s usually, {done / flooded:.0f}/s in the flood: {usual / flooded:.2f}")  # noqa: T201
    return usual / flooded


async def test_good_deployments_keep_their_rate_in_a_flood_of_unreadable_messages(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, database_url, tmp_path, max_concurrent_deployments=AT_ONCE)
    async with pipeline(settings) as running:
        with capture_logs() as logs:
            running.start()
            assert await share_kept(running) > LEAST_SHARE
            await running.stop()
        assert Counter(entry["event"] for entry in logs)["service failed and runs again"] == 0
        letters = [letter.content async for letter in DeadLetters(running.resources.bus).oldest_first()]
        assert {letter.deployment_id for letter in letters} == {f"bad-{number}" for number in range(BAD)}
        assert len(letters) == BAD
        for letter in letters:
            assert (letter.reason, letter.deliveries) == (INVALID_MESSAGE, 1)
            assert letter.errors[-1].startswith("QUEUE_PROCESSING_FAILED: the command could not be read: ")
        assert Counter(letter.actor for letter in letters).keys() == BY_NAME.keys()


async def test_oversized_messages_and_wrong_subjects_are_refused_at_publish(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with pipeline(settings_for(nats_server, database_url, tmp_path)) as running:
        jetstream = running.resources.bus.jetstream
        with pytest.raises(nats.js.errors.APIError, match="message size exceeds maximum allowed"):
            await jetstream.publish(subjects.command("sync", "deploy_big"), b" " * 1_000_001)
        with pytest.raises(nats.errors.MaxPayloadError):
            await jetstream.publish(subjects.command("sync", "deploy_bigger"), b" " * 2_000_000)
        for subject in ("deployment.queue.paint.deploy_1", "deployment.queue.sync", "deployment.queue.sync.a.b"):
            with pytest.raises(nats.js.errors.NoStreamResponseError):
                await jetstream.publish(subject, b"{}")
