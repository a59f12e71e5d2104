"""What a worker says that went on too late, and what it calls a timeout."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.log_archiver import create as create_log_archiver
from shared.adapters.jetstream.bus import decode_event
from shared.conclusion import interrupt
from shared.contracts.errors import ZepidError
from shared.contracts.events import Failed, Refused
from shared.contracts.messages import Command, LogChunk, LogLine
from shared.contracts.outcomes import Done, Outcome
from shared.contracts.subjects import EVENT_STREAM, event
from shared.log_lines import archive_prefix
from shared.pipeline import BY_NAME
from shared.ports import Ports
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until


@pytest.fixture
async def running(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(settings_for(nats_server, database_url, tmp_path)) as made:
        yield made


async def codes(running: Pipeline, deployment_id: str) -> list[str]:
    stored = await running.resources.bus.history(EVENT_STREAM, event(deployment_id, "sync", "failed"))
    failures = [decode_event(message.data) for message in stored]
    return [failed.failure.code for failed in failures if isinstance(failed, Failed)]


@pytest.mark.parametrize(
    ("hangs", "code"), [(False, "SERVICE_UNAVAILABLE"), (True, "STEP_TIMEOUT")], ids=["dependency", "step"]
)
async def test_only_the_step_s_own_limit_is_called_its_timeout(
    running: Pipeline, monkeypatch: pytest.MonkeyPatch, hangs: bool, code: str
) -> None:
    tries: list[int] = []

    async def late_once(order: Command, ports: Ports) -> Outcome:
        tries.append(1)
        if len(tries) == 1:
            if not hangs:
                raise TimeoutError
            await asyncio.Event().wait()
        return Done(order.work)

    monkeypatch.setitem(BY_NAME, "sync", dataclasses.replace(BY_NAME["sync"], timeout=0.3))
    monkeypatch.setattr("tests.pipeline.STEPS", tuple(BY_NAME.values()))
    running.handlers["sync"] = late_once
    running.start()
    deployment_id = await running.request()
    assert (await running.finished(deployment_id)).outcome == "completed"
    assert await codes(running, deployment_id) == [code]


async def archived(running: Pipeline, deployment_id: str, text: str) -> bool:
    logs = running.resources.logs
    found = [await logs.get(key) async for key in logs.keys(archive_prefix(deployment_id))]
    return any(text.encode() in (data or b"") for data in found)


@pytest.fixture
async def archiving(running: Pipeline) -> AsyncIterator[None]:
    """The log archiver, at work."""
    stopping = asyncio.Event()
    service = asyncio.create_task(create_log_archiver(running.resources).run(stopping))
    yield
    stopping.set()
    await service


async def test_lines_of_a_step_that_a_cancel_could_not_stop_in_time_are_archived(
    running: Pipeline, archiving: None
) -> None:
    begun = asyncio.Event()

    async def deaf(order: Command, ports: Ports) -> Outcome:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await running.finished(order.deployment_id)
        ports.log.write("system", "a late line")
        return Done(order.work)

    running.handlers["validate"] = deaf
    running.start()
    deployment_id = await running.request()
    await begun.wait()
    resources = running.resources
    failure = ZepidError("CANCELLED", "cancelled on request").failure("gateway")
    await interrupt(resources.deployments, resources.bus, "gateway", deployment_id, "cancelled", failure)
    await until(lambda: archived(running, deployment_id, "a late line"))


async def test_lines_written_after_the_cleanup_are_archived_when_their_result_is_refused(
    running: Pipeline, archiving: None
) -> None:
    running.start()
    deployment_id = await running.request()
    await running.finished(deployment_id)
    bus = running.resources.bus
    late = (LogLine(timestamp=2.0, message="a late line"),)
    chunk = LogChunk(deployment_id=deployment_id, step="deploy", attempt=1, number=7, lines=late)
    refused = Refused(deployment_id=deployment_id, actor="deploy", at=2.0, attempt=1, decided="completed")
    await bus.append_log(chunk, "late")
    await bus.record(refused, "", "late")
    await until(lambda: archived(running, deployment_id, "a late line"))


async def test_lines_of_a_fenced_attempt_are_archived_though_it_has_no_result(
    running: Pipeline, archiving: None
) -> None:
    begun = asyncio.Event()

    async def overtaken(order: Command, ports: Ports) -> Outcome:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await running.finished(order.deployment_id)
        await asyncio.sleep(1)
        ports.log.write("system", "a late line")
        raise ZepidError("SANDBOX_FENCED", "a newer attempt owns the sandbox")

    running.handlers["validate"] = overtaken
    running.start()
    deployment_id = await running.request()
    await begun.wait()
    resources = running.resources
    failure = ZepidError("CANCELLED", "cancelled on request").failure("gateway")
    await interrupt(resources.deployments, resources.bus, "gateway", deployment_id, "cancelled", failure)
    await until(lambda: archived(running, deployment_id, "a late line"))
