"""The pipeline's promises, on a real broker and a real database, with steps that do nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from shared.adapters.jetstream.bus import decode_event
from shared.adapters.postgres.projections import Projections
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command, Work
from shared.contracts.outcomes import Back, Done, Outcome, Reject, Retry
from shared.contracts.subjects import EVENT_STREAM, command, events_of
from shared.ports import Ports
from tests.pipeline import Pipeline, pipeline, rows, settings_for
from tests.waiting import until


@pytest.fixture
async def running(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(settings_for(nats_server, database_url, tmp_path)) as made:
        yield made


def failure(code: str = "STORAGE_READ_FAILED", step: str = "sync"):
    return ZepidError(code, "it broke on purpose").failure(step)


async def kinds(running: Pipeline, deployment_id: str) -> list[str]:
    stored = await running.resources.bus.history(EVENT_STREAM, events_of(deployment_id))
    return [message.subject.split(".", 3)[3] for message in stored]


async def test_a_deployment_goes_through_all_six_steps(running: Pipeline) -> None:
    running.start()
    deployment_id = await running.request()
    progress = await running.finished(deployment_id)
    assert progress.outcome == "completed"
    assert progress.progress == 100
    steps = ("validate", "sandbox", "sync", "build", "deploy", "cleanup")
    assert {name: (progress.step(name).status, progress.step(name).attempts) for name in steps} == dict.fromkeys(
        steps, ("completed", 1)
    )
    happened = [kind for kind in await kinds(running, deployment_id) if not kind.endswith(".started")]
    assert happened == [
        "intake.admitted",
        "validate.succeeded",
        "sandbox.succeeded",
        "sync.succeeded",
        "build.succeeded",
        "deploy.ended",
        "deploy.succeeded",
        "cleanup.succeeded",
    ]


async def test_a_rejected_step_fails_the_deployment_at_once_without_a_dead_letter(running: Pipeline) -> None:
    async def reject(command: Command, ports: Ports) -> Outcome:
        return Reject(failure("BUILD_COMMAND_FAILED", "build"))

    running.handlers["build"] = reject
    running.start()
    progress = await running.finished(await running.request())
    assert (progress.outcome, progress.progress) == ("failed", 45)
    assert progress.failure is not None
    assert progress.failure.code == "BUILD_COMMAND_FAILED"
    assert progress.step("build").status == "failed"
    assert progress.step("deploy").status == "skipped"
    assert progress.step("cleanup").status == "completed"
    letters = await running.resources.bus.jetstream.stream_info("deployment-dlq")
    assert letters.state.messages == 0


async def test_a_retried_step_succeeds_later_and_counts_its_attempts(running: Pipeline) -> None:
    attempts: list[int] = []

    async def flaky(command: Command, ports: Ports) -> Outcome:
        attempts.append(ports.attempt)
        return Done(command.work) if len(attempts) == 3 else Retry(failure())

    running.handlers["sync"] = flaky
    running.start()
    progress = await running.finished(await running.request())
    assert progress.outcome == "completed"
    assert attempts == [1, 2, 3]
    assert progress.step("sync").attempts == 3


async def test_used_up_deliveries_become_a_dead_letter_and_fail_the_deployment(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async def broken(command: Command, ports: Ports) -> Outcome:
        return Retry(failure())

    async with pipeline(settings_for(nats_server, database_url, tmp_path, max_retries=1)) as running:
        running.handlers["sync"] = broken
        running.start()
        deployment_id = await running.request()
        progress = await running.finished(deployment_id)
        assert progress.outcome == "failed"
        assert progress.failure is not None
        assert progress.failure.code == "STORAGE_READ_FAILED"
        assert progress.step("sync").attempts == 2
        letters = await running.resources.bus.history("deployment-dlq", f"deployment.dlq.sync.{deployment_id}")
        assert len(letters) == 1
        assert not await running.resources.bus.commands(deployment_id)


async def test_an_exception_of_a_handler_is_retried_and_never_escapes(running: Pipeline) -> None:
    raised: list[int] = []

    async def defect(command: Command, ports: Ports) -> Outcome:
        if not raised:
            raised.append(1)
            raise ZeroDivisionError
        return Done(command.work)

    running.handlers["validate"] = defect
    running.start()
    progress = await running.finished(await running.request())
    assert progress.outcome == "completed"
    assert progress.step("validate").attempts == 2


async def test_a_lost_sandbox_goes_back_in_a_new_epoch(running: Pipeline) -> None:
    built: list[int] = []

    async def lose_once(command: Command, ports: Ports) -> Outcome:
        built.append(command.epoch)
        return Done(command.work) if command.epoch else Back("sandbox", failure("SANDBOX_CONNECT_FAILED", "build"))

    running.handlers["build"] = lose_once
    running.start()
    progress = await running.finished(await running.request())
    assert progress.outcome == "completed"
    assert built == [0, 1]
    assert progress.step("sandbox").attempts == 2
    assert progress.step("build").attempts == 2
    assert progress.step("validate").attempts == 1


async def test_a_command_delivered_again_after_success_repeats_no_work(running: Pipeline) -> None:
    worked: list[str] = []

    async def count(command: Command, ports: Ports) -> Outcome:
        worked.append(command.deployment_id)
        return Done(command.work)

    running.handlers["sync"] = count
    running.start()
    deployment_id = await running.request()
    await running.finished(deployment_id)
    stored = await running.resources.bus.history(EVENT_STREAM, events_of(deployment_id))
    sandbox_done = next(decode_event(message.data) for message in stored if ".sandbox.succeeded" in message.subject)
    copy = sandbox_done.next
    await running.resources.bus.jetstream.publish(
        command("sync", deployment_id), msgspec.json.encode(copy), headers={"Nats-Msg-Id": "another copy"}
    )

    async def taken() -> bool:
        return not await running.resources.bus.commands(deployment_id)

    await until(taken)
    assert worked == [deployment_id]


async def test_the_global_limit_bounds_what_runs_at_once(nats_server: str, database_url: str, tmp_path: Path) -> None:
    now = peak = 0

    async def slow(command: Command, ports: Ports) -> Outcome:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.05)
        now -= 1
        return Done(command.work)

    async with pipeline(settings_for(nats_server, database_url, tmp_path, max_concurrent_deployments=2)) as running:
        running.handlers["build"] = slow
        running.start()
        ids = [await running.request() for _ in range(8)]
        for deployment_id in ids:
            assert (await running.finished(deployment_id)).outcome == "completed"
    assert peak == 2


async def test_an_undecodable_command_is_buried_and_fails_its_deployment(running: Pipeline) -> None:
    running.start(only={"intake", "projector", "cleanup"})
    deployment_id = await running.request()

    async def waits() -> bool:
        return bool(await running.resources.bus.commands(deployment_id) and await running.progress(deployment_id))

    await until(waits)
    await running.resources.bus.jetstream.publish(command("sync", deployment_id), b"\xff not json")
    await running.stop()
    running.start(only={"projector", "cleanup", "sync", "intake"})
    progress = await running.finished(deployment_id)
    assert progress.outcome == "failed"
    assert progress.failure is not None
    assert progress.failure.code == "QUEUE_PROCESSING_FAILED"
    letters = await running.resources.bus.history("deployment-dlq", f"deployment.dlq.sync.{deployment_id}")
    assert len(letters) == 1


async def test_a_deployment_past_its_deadline_ends_with_a_timeout(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async def hang(command: Command, ports: Ports) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    async with pipeline(settings_for(nats_server, database_url, tmp_path, max_deployment_timeout=1000)) as running:
        running.handlers["build"] = hang
        running.start()
        progress = await running.finished(await running.request())
        assert progress.outcome == "failed"
        assert progress.failure is not None
        assert progress.failure.code == "DEPLOYMENT_TIMEOUT"
        assert progress.step("cleanup").status == "completed"


async def test_a_vanished_command_is_published_again(
    nats_server: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.reconciler.vanished.QUIET_SECONDS", 0.2)
    monkeypatch.setattr("services.reconciler.reconciler.TICK_SECONDS", 0.2)
    async with pipeline(settings_for(nats_server, database_url, tmp_path)) as running:
        running.start(only={"intake", "projector", "validate"})
        deployment_id = await running.request()

        async def validated() -> bool:
            return "validate.succeeded" in await kinds(running, deployment_id)

        await until(validated)
        await running.stop()
        await running.resources.bus.jetstream.purge_stream("deployment-queue")
        running.start()
        progress = await running.finished(deployment_id)
        assert progress.outcome == "completed"
        assert "reconciler.reissued" in await kinds(running, deployment_id)


async def test_rebuilding_the_projection_gives_the_same_rows(running: Pipeline) -> None:
    async def reject(command: Command, ports: Ports) -> Outcome:
        return Reject(failure("BUILD_NO_OUTPUT", "build")) if len(ids) % 2 else Done(command.work)

    ids: list[str] = []
    running.handlers["build"] = reject
    running.start()
    for _ in range(4):
        ids.append(await running.request())
        await running.finished(ids[-1])
    pool = running.resources.pool
    before = {table: await rows(pool, table) for table in ("deployment_progress", "deployment_step", "project")}
    await pool.execute("update deployment_progress set progress = 1, stage = 'sync', sequence = 0")
    await pool.execute("update deployment_step set attempts = 77")
    async with pool.acquire() as connection:
        await Projections(connection).ask_for_rebuild()

        async def rebuilt() -> bool:
            position = await Projections(connection).position()
            return position is not None and not position.rebuild

        await until(rebuilt)
    assert {table: await rows(pool, table) for table in before} == before


async def test_a_command_whose_worker_died_twice_runs_alone(running: Pipeline) -> None:
    together: list[set[str]] = []
    now: set[str] = set()

    async def note(command: Command, ports: Ports) -> Outcome:
        now.add(command.deployment_id)
        together.append(set(now))
        await asyncio.sleep(0.1)
        now.discard(command.deployment_id)
        return Done(command.work)

    running.handlers["build"] = note
    for name, interruptions in (("deploy_1", 0), ("deploy_2", 0), ("deploy_suspect", 2), ("deploy_3", 0)):
        order = Command(
            deployment_id=name,
            project_id="p",
            organization_id="org",
            step="build",
            deadline=time.time() + 600,
            work=Work(source=""),
            interruptions=interruptions,
        )
        await running.resources.bus.send(order, "")
    running.start(only={"build"})

    async def all_done() -> bool:
        return len(together) == 4 and not now

    await until(all_done)
    assert {"deploy_suspect"} in together
    assert not any("deploy_suspect" in names and len(names) > 1 for names in together)
    assert any(len(names) > 1 for names in together)
