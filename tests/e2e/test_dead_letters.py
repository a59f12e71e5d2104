"""What was given up: how it gets to the dead letters, also unannounced, and what an operator can do about it."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from services.dead_letter.dead_letter import DeadLetters as DeadLetterService
from services.dead_letter.sweep import find_stuck
from services.gateway.app import create_app
from services.gateway.ports import GatewayPorts
from shared.adapters.jetstream.bus import decode_event
from shared.adapters.jetstream.dead_letters import DeadLetters, Letter
from shared.adapters.postgres.tokens import Tokens
from shared.burial import INVALID_MESSAGE, MAX_RETRIES_EXCEEDED, SYSTEM_ERROR, Remains, bury
from shared.contracts import subjects
from shared.contracts.errors import Failure, ZepidError
from shared.contracts.events import Ended, LetterClosed
from shared.contracts.messages import Command, Work
from shared.contracts.outcomes import Done, Outcome, Retry
from shared.pipeline import backoff_seconds
from shared.ports import Ports
from shared.settings import Settings, load_settings
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until

ADVISORIES = subjects.ADVISORY_STREAM


@pytest.fixture
def settings(nats_server: str, database_url: str, tmp_path: Path) -> Settings:
    return settings_for(nats_server, database_url, tmp_path, max_retries=1, max_waiting_per_organization=3)


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker waits a second for an answer, and the sweep looks often."""
    monkeypatch.setattr("shared.adapters.jetstream.provision.ACK_WAIT_SECONDS", 1.0)
    monkeypatch.setattr("shared.lease.ACK_WAIT_SECONDS", 1.0)
    monkeypatch.setattr("shared.worker.HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr("services.dead_letter.dead_letter.SWEEP_SECONDS", 0.2)


@pytest.fixture
async def running(briefly: None, settings: Settings) -> AsyncIterator[Pipeline]:
    async with pipeline(settings) as made:
        yield made


@pytest.fixture
async def api(running: Pipeline) -> AsyncIterator[httpx.AsyncClient]:
    """The API for an operator of every organisation."""
    async with calling(running, None) as client:
        yield client


@asynccontextmanager
async def calling(running: Pipeline, organization_id: str | None, *scopes: str) -> AsyncIterator[httpx.AsyncClient]:
    tokens = Tokens(running.resources.pool)
    _, token = await tokens.create("ops", list(scopes or ("admin",)), organization_id, "ada")
    transport = httpx.ASGITransport(app=create_app(GatewayPorts.of(running.resources)))
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


def broken(message: str = "it broke on purpose") -> Failure:
    return ZepidError("STORAGE_READ_FAILED", message).failure("sync")


class Breakable:
    """A handler that fails until it is mended."""

    def __init__(self) -> None:
        self.mended = False

    async def __call__(self, command: Command, ports: Ports) -> Outcome:
        return Done(command.work) if self.mended else Retry(broken())


async def letters_of(running: Pipeline) -> list[Letter]:
    return [letter async for letter in DeadLetters(running.resources.bus).oldest_first()]


async def dead(running: Pipeline, organization_id: str = "org") -> str:
    """A deployment whose sync step has died; returns its id."""
    deployment_id = await running.request(organization_id=organization_id)
    progress = await running.finished(deployment_id)
    assert progress.outcome == "failed"
    return deployment_id


async def journal(running: Pipeline, deployment_id: str) -> list[Any]:
    stored = await running.resources.bus.history(subjects.EVENT_STREAM, subjects.events_of(deployment_id))
    return [decode_event(message.data) for message in stored]


def command_for(deployment_id: str, step: str = "sync") -> Command:
    return Command(
        deployment_id=deployment_id,
        project_id="p",
        organization_id="org",
        step=step,
        deadline=time.time() + 600,
        work=Work(source=""),
    )


# Looking at them


async def test_an_operator_sees_why_a_deployment_died_and_others_do_not(
    running: Pipeline, api: httpx.AsyncClient
) -> None:
    running.handlers["sync"] = Breakable()
    running.start()
    first, second = await dead(running), await dead(running, "other")
    [newest, oldest] = (await api.get("/status/dlq")).json()["letters"]
    assert [newest["deploymentId"], oldest["deploymentId"]] == [second, first]
    assert (oldest["actor"], oldest["reason"], oldest["deliveries"]) == ("sync", MAX_RETRIES_EXCEEDED, 2)
    assert (oldest["organizationId"], oldest["error"]) == ("org", "STORAGE_READ_FAILED: it broke on purpose")
    whole = (await api.get(f"/status/dlq/{oldest['sequence']}")).json()
    assert whole["errors"] == ["STORAGE_READ_FAILED: it broke on purpose"] * 2
    assert msgspec.json.decode(whole["body"], type=Command).deployment_id == first
    assert whole["deployment"]["status"] == "failed"
    async with calling(running, "other") as theirs:
        assert [letter["deploymentId"] for letter in (await theirs.get("/status/dlq")).json()["letters"]] == [second]
        for method, path in (("GET", ""), ("POST", "/redrive")):
            assert (await theirs.request(method, f"/status/dlq/{oldest['sequence']}{path}")).status_code == 404
        gone = await theirs.request("DELETE", f"/status/dlq/{oldest['sequence']}", json={"reason": "mine"})
        assert gone.status_code == 404
        assert (await theirs.get("/status/dlq", params={"orgId": "org"})).status_code == 403
        everything = (await theirs.post("/status/dlq/redrive", json={"filter": {}})).json()
        assert [letter["deploymentId"] for letter in everything["redriven"]] == [second]
    async with calling(running, "org", "deploy") as developer:
        assert (await developer.get("/status/dlq")).status_code == 403


async def test_letters_are_listed_by_pages_and_filters(running: Pipeline, api: httpx.AsyncClient) -> None:
    bus, deployments = running.resources.bus, running.resources.deployments
    known = await running.request(organization_id="acme")
    for number in range(6):
        subject = subjects.command(("sync", "build")[number % 2], known if number == 5 else f"deploy_{number}")
        await bury(deployments, bus, "test", Remains(subject, number + 1, b"?", {}, deliveries=1))
    moment = (await api.get("/status/dlq")).json()["letters"][3]["diedAt"]

    async def listed(client: httpx.AsyncClient = api, **params: object) -> list[int]:
        answer = (await client.get("/status/dlq", params=params)).json()
        return [letter["sequence"] for letter in answer["letters"]]

    assert await listed() == [6, 5, 4, 3, 2, 1]
    page = (await api.get("/status/dlq", params={"limit": 4})).json()
    assert page["nextCursor"] == 3
    assert await listed(cursor=3) == [2, 1]
    assert await listed(actor="build") == [6, 4, 2]
    assert await listed(reason=MAX_RETRIES_EXCEEDED) == []
    assert await listed(before=moment) == [2, 1]
    assert await listed(orgId="acme") == [6]
    async with calling(running, "acme") as theirs:
        assert await listed(theirs) == [6]
    assert (await api.get("/status/dlq", params={"reason": "boredom"})).status_code == 400


async def test_letters_are_found_in_a_stream_full_of_gaps(running: Pipeline) -> None:
    bus, deployments = running.resources.bus, running.resources.deployments
    for number in range(30):
        remains = Remains(subjects.command("sync", f"deploy_{number}"), number + 1, b"?", {}, deliveries=1)
        await bury(deployments, bus, "test", remains)
    letters = DeadLetters(bus)
    kept = {2, 3, 17, 30}
    for sequence in set(range(1, 31)) - kept:
        await letters.remove(sequence)
        await letters.remove(sequence)
    for width in (1, 2, 7):
        with pytest.MonkeyPatch.context() as narrow:
            narrow.setattr("shared.adapters.jetstream.dead_letters._WINDOW", width)
            assert [letter.sequence async for letter in letters.newest_first()] == [30, 17, 3, 2]
            assert [letter.sequence async for letter in letters.newest_first(below=17)] == [3, 2]
            assert [letter.sequence async for letter in letters.oldest_first(after=2)] == [3, 17, 30]
    assert [letter.sequence async for letter in letters.one(4)] == []


# Doing something about them


async def test_a_redrive_is_a_new_deployment_linked_to_the_dead_one(running: Pipeline, api: httpx.AsyncClient) -> None:
    running.handlers["sync"] = breakable = Breakable()
    running.start()
    deployment_id = await dead(running)
    [letter] = await letters_of(running)
    breakable.mended = True
    answer = await api.post(f"/status/dlq/{letter.sequence}/redrive")
    assert answer.status_code == 200, answer.text
    redriven = answer.json()
    assert (redriven["sequence"], redriven["deploymentId"]) == (letter.sequence, deployment_id)
    assert (await running.finished(redriven["newDeploymentId"])).outcome == "completed"
    row = await running.resources.pool.fetchrow(
        "select n.retry_of, n.user_id = d.user_id and n.source = d.source and n.project_id = d.project_id as same"
        " from deployment n join deployment d on d.id = n.retry_of where n.id = $1",
        redriven["newDeploymentId"],
    )
    assert row is not None
    assert (row["retry_of"], row["same"]) == (deployment_id, True)
    assert await running.outcome(deployment_id) == "failed"
    assert await letters_of(running) == []
    [closed] = [event for event in await journal(running, deployment_id) if isinstance(event, LetterClosed)]
    assert (closed.by, closed.sequence, closed.redriven_as) == ("ops", letter.sequence, redriven["newDeploymentId"])
    assert (await api.post(f"/status/dlq/{letter.sequence}/redrive")).status_code == 404


async def test_a_redrive_that_was_cut_off_makes_one_deployment_when_repeated(
    running: Pipeline, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.handlers["sync"] = breakable = Breakable()
    running.start()
    deployment_id = await dead(running)
    [letter] = await letters_of(running)
    breakable.mended = True

    async def cut_off(self: DeadLetters, sequence: int) -> None:
        raise ZepidError("QUEUE_PROCESSING_FAILED", "the gateway died here")

    with monkeypatch.context() as cut:
        cut.setattr(DeadLetters, "remove", cut_off)
        assert (await api.post(f"/status/dlq/{letter.sequence}/redrive")).status_code == 500
    made = "select id from deployment where retry_of = $1"
    [row] = await running.resources.pool.fetch(made, deployment_id)
    await running.finished(row["id"])
    again = (await api.post(f"/status/dlq/{letter.sequence}/redrive")).json()
    assert again["newDeploymentId"] == row["id"]
    assert len(await running.resources.pool.fetch(made, deployment_id)) == 1
    assert await letters_of(running) == []


async def test_a_letter_stays_where_its_redrive_is_refused(running: Pipeline, api: httpx.AsyncClient) -> None:
    running.handlers["sync"] = Breakable()
    running.start()
    projects = [await running.project("full"), await running.project("free"), await running.project("done")]
    for project, organization_id in zip(projects, ("full", "free", "done"), strict=True):
        await running.finished(await running.request(project, organization_id))
    await running.stop()
    newer = await running.request(projects[1], "free")
    for _ in range(3):
        await running.request(organization_id="full")
    await running.resources.pool.execute(
        "update deployment set outcome = 'completed' where project_id = $1", projects[2]
    )
    answer = (await api.post("/status/dlq/redrive", json={})).json()
    assert answer["redriven"] == []
    assert {refused["sequence"]: refused["code"] for refused in answer["refused"]} == {
        1: "QUEUE_FULL",
        2: "DEPLOYMENT_IN_PROGRESS",
        3: "OUTCOME_ALREADY_DECIDED",
    }
    conflict = await api.post("/status/dlq/2/redrive")
    assert (conflict.status_code, conflict.json()["deploymentId"]) == (409, newer)
    assert [letter.sequence for letter in await letters_of(running)] == [1, 2, 3]


async def test_a_site_that_went_on_is_not_set_back_by_a_redrive(running: Pipeline, api: httpx.AsyncClient) -> None:
    sync = Breakable()
    running.handlers["sync"] = sync
    running.start()
    project = await running.project()
    dead_id = await running.request(project)
    assert (await running.finished(dead_id)).outcome == "failed"
    sync.mended = True
    newer = await running.request(project)
    assert (await running.finished(newer)).outcome == "completed"
    letter = (await letters_of(running))[0]
    answer = await api.post(f"/status/dlq/{letter.sequence}/redrive")
    assert answer.status_code == 409
    assert newer in answer.json()["message"]
    assert await letters_of(running) == [letter]


async def test_many_are_redriven_in_small_calls_at_a_rate(running: Pipeline, api: httpx.AsyncClient) -> None:
    running.handlers["sync"] = breakable = Breakable()
    running.start()
    ids = await asyncio.gather(*(dead(running, f"org-{number}") for number in range(4)))
    breakable.mended = True
    order = {"filter": {"actor": "sync", "reason": MAX_RETRIES_EXCEEDED}, "ratePerSecond": 10, "limit": 3}
    began = time.monotonic()
    first = (await api.post("/status/dlq/redrive", json=order)).json()
    assert time.monotonic() - began >= 0.3
    second = (await api.post("/status/dlq/redrive", json={**order, "after": first["next"]})).json()
    assert (len(first["redriven"]), len(second["redriven"]), second["next"]) == (3, 1, None)
    redriven = [*first["redriven"], *second["redriven"]]
    assert {letter["deploymentId"] for letter in redriven} == set(ids)
    for letter in redriven:
        assert (await running.finished(letter["newDeploymentId"])).outcome == "completed"
    bad = await api.post("/status/dlq/redrive", json={**order, "ratePerSecond": 0})
    assert bad.status_code == 400


async def test_a_redriven_cleanup_is_queued_again_and_the_deployment_stays_ended(
    running: Pipeline, api: httpx.AsyncClient
) -> None:
    works = running.handlers["cleanup"]
    running.handlers["cleanup"] = Breakable()
    running.start(
        only={"intake", "projector", "dead-letter", "validate", "sandbox", "sync", "build", "deploy", "cleanup"}
    )
    deployment_id = await running.request()

    async def died() -> list[Letter]:
        return await letters_of(running)

    [letter] = await until(died)
    await running.stop()
    assert letter.content.actor == "cleanup"
    running.handlers["cleanup"] = works
    running.start(only={"cleanup", "projector"})
    answer = (await api.post(f"/status/dlq/{letter.sequence}/redrive")).json()
    assert answer == {"sequence": letter.sequence, "deploymentId": deployment_id}
    assert (await until(partial(freed, running, deployment_id))) is True
    assert await running.outcome(deployment_id) == "completed"
    assert await letters_of(running) == []
    assert len([event for event in await journal(running, deployment_id) if isinstance(event, Ended)]) == 1


async def freed(running: Pipeline, deployment_id: str) -> bool:
    row = "select freed_at is not null from deployment where id = $1"
    return bool(await running.resources.pool.fetchval(row, deployment_id))


async def test_a_letter_is_discarded_only_with_a_reason(running: Pipeline, api: httpx.AsyncClient) -> None:
    remains = Remains(subjects.command("sync", "deploy_lost"), 1, b"\xff", {}, deliveries=1)
    await bury(running.resources.deployments, running.resources.bus, "test", remains)
    for body in ({}, {"reason": ""}):
        assert (await api.request("DELETE", "/status/dlq/1", json=body)).status_code == 400
    unknown = await api.post("/status/dlq/1/redrive")
    assert (unknown.status_code, "discarded" in unknown.json()["message"]) == (404, True)
    gone = await api.request("DELETE", "/status/dlq/1", json={"reason": "noise"})
    assert (gone.status_code, gone.json()["sequence"]) == (200, 1)
    assert (await api.get("/status/dlq/1")).status_code == 404
    [closed] = [event for event in await journal(running, "deploy_lost") if isinstance(event, LetterClosed)]
    assert (closed.by, closed.reason, closed.redriven_as) == ("ops", "noise", "")


# How they get there


async def drop(running: Pipeline, step: str, deliveries: int) -> None:
    """Take deliveries of a step's commands like a process that dies at once, until the broker gives up."""
    bus = running.resources.bus
    subscription = await bus.jetstream.pull_subscribe_bind(step, stream="deployment-queue")
    for _ in range(deliveries):
        await subscription.fetch(1, timeout=10)
    with pytest.raises(TimeoutError):
        await subscription.fetch(1, timeout=1.5)


async def lose_advisories(running: Pipeline) -> None:
    async def announced() -> int:
        return int((await running.resources.bus.jetstream.stream_info(ADVISORIES)).state.messages)

    await until(announced)
    await running.resources.bus.jetstream.purge_stream(ADVISORIES)


async def test_a_dead_command_that_no_advisory_announced_is_found_and_buried(running: Pipeline) -> None:
    running.handlers["sync"] = Breakable()
    running.start(only={"intake", "projector", "validate", "sandbox", "sync", "cleanup"})
    deployment_id = await running.request()
    await lose_advisories(running)
    assert await letters_of(running) == []
    await running.stop()
    running.start(only={"dead-letter", "projector", "cleanup"})
    progress = await running.finished(deployment_id)
    assert progress.failure is not None
    assert (progress.outcome, progress.failure.code) == ("failed", "STORAGE_READ_FAILED")
    [letter] = await letters_of(running)
    assert (letter.content.reason, len(letter.content.errors)) == (MAX_RETRIES_EXCEEDED, 2)


async def test_a_command_whose_deliveries_all_vanished_is_buried_as_a_lost_worker(running: Pipeline) -> None:
    running.start(only={"intake", "projector", "validate", "sandbox", "cleanup"})
    deployment_id = await running.request()
    await drop(running, "sync", deliveries=2)
    await lose_advisories(running)
    await running.stop()
    running.start(only={"dead-letter", "projector", "cleanup"})
    progress = await running.finished(deployment_id)
    assert progress.failure is not None
    assert progress.failure.code == "WORKER_LOST"
    [letter] = await letters_of(running)
    assert letter.content.reason == SYSTEM_ERROR


async def test_nothing_that_can_still_be_worked_on_is_ever_taken_for_dead(running: Pipeline) -> None:
    bus = running.resources.bus
    await bus.send(command_for("dead"), "")
    await drop(running, "sync", deliveries=2)
    for name in ("in-flight", "delayed", "acknowledged", "pending"):
        await bus.send(command_for(name), "")
    subscription = await bus.jetstream.pull_subscribe_bind("sync", stream="deployment-queue")
    in_flight, delayed, acknowledged = [(await subscription.fetch(1, timeout=5))[0] for _ in range(3)]
    await acknowledged.ack_sync()
    await delayed.nak(delay=600)

    async def found() -> list[str]:
        return [subjects.deployment_in_command(remains.subject) for remains in await find_stuck(bus)]

    for _ in range(3):
        await in_flight.in_progress()
        assert set(await found()) <= {"dead"}
    stored = await bus.history("deployment-queue", subjects.commands_for("sync"))
    assert [subjects.deployment_in_command(message.subject) for message in stored] == [
        "dead", "in-flight", "delayed", "pending",
    ]  # fmt: skip
    await in_flight.ack_sync()
    await bus.client.request(delayed.reply, b"+ACK")
    assert await found() == ["dead"]


async def test_a_command_redriven_after_a_final_failure_is_not_taken_for_dead(
    running: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.dead_letter.sweep.OUTAGE_SECONDS", 0.0)
    bus = running.resources.bus
    running.handlers["cleanup"] = Breakable()
    running.start(only={"cleanup"})
    cleanup = command_for("redriven", "cleanup")
    await bus.send(cleanup, "")
    await lose_advisories(running)
    await running.stop()
    [remains] = await find_stuck(bus)
    await bus.send(msgspec.structs.replace(cleanup, issue=1), "")
    subscription = await bus.jetstream.pull_subscribe_bind("cleanup", stream="deployment-queue")
    [message] = await subscription.fetch(1, timeout=5)
    assert [found.sequence for found in await find_stuck(bus)] == [remains.sequence]
    await message.ack_sync()


async def test_an_advisory_about_a_message_that_is_gone_or_younger_is_ignored(running: Pipeline) -> None:
    bus = running.resources.bus
    subject = f"{subjects.max_deliveries_advisories('deployment-queue').removesuffix('*')}sync"
    await bus.send(command_for("young"), "")
    for sequence, timestamp in ((1, "2020-01-01T00:00:00.123456789Z"), (99, "2099-01-01T00:00:00Z")):
        advisory = {
            "type": "io.nats.jetstream.advisory.v1.max_deliver", "stream": "deployment-queue", "consumer": "sync",
            "stream_seq": sequence, "deliveries": 2, "timestamp": timestamp,
        }  # fmt: skip
        await bus.client.publish(subject, msgspec.json.encode(advisory))
    await bus.client.publish(subject, b"not an advisory")
    running.start(only={"dead-letter"})

    async def all_read() -> bool:
        info = await bus.jetstream.consumer_info(ADVISORIES, "dead-letter")
        return info.delivered is not None and info.delivered.stream_seq == 3 and not info.num_ack_pending

    await until(all_read)
    assert await letters_of(running) == []
    assert await bus.commands("young")


async def test_a_burial_may_crash_after_each_of_its_effects_and_is_done_once(
    running: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.handlers["sync"] = Breakable()
    running.start(only={"intake", "projector", "validate", "sandbox", "sync", "cleanup"})
    deployment_id = await running.request()
    await lose_advisories(running)
    await running.stop()
    bus, deployments = running.resources.bus, running.resources.deployments
    service = DeadLetterService(bus, deployments, running.resources.settings)
    [remains] = await find_stuck(bus)
    effects: list[tuple[object, str]] = [
        (bus, "bury"), (bus, "record"), (deployments, "end"), (bus, "send"), (bus, "delete"),
    ]  # fmt: skip
    for owner, effect in effects:
        with monkeypatch.context() as crash:
            crash.setattr(owner, effect, dies_after(getattr(owner, effect)))
            with pytest.raises(Died):
                await service._give_up(remains)
    await service._give_up(remains)
    running.start(only={"projector", "cleanup"})
    assert (await running.finished(deployment_id)).outcome == "failed"
    assert len(await letters_of(running)) == 1
    assert not await bus.commands(deployment_id)
    assert len([event for event in await journal(running, deployment_id) if isinstance(event, Ended)]) == 1


class Died(Exception):
    """The process ended here."""


def dies_after(effect: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[None]]:
    async def crash(*args: Any, **kwargs: Any) -> None:
        await effect(*args, **kwargs)
        raise Died

    return crash


async def test_a_burial_repeated_long_after_it_was_cut_off_makes_no_second_letter(running: Pipeline) -> None:
    bus, deployments = running.resources.bus, running.resources.deployments
    config = (await bus.jetstream.stream_info("deployment-dlq")).config
    config.duplicate_window = 0.1
    await bus.jetstream.update_stream(config)
    remains = Remains(subjects.command("sync", "deploy_twice"), 7, b"\xff", {}, deliveries=1)
    await bury(deployments, bus, "test", remains)
    await asyncio.sleep(0.3)
    await bury(deployments, bus, "test", remains)
    assert len(await letters_of(running)) == 1


@pytest.mark.parametrize(
    "body", [b"\xff" * 900_000, b"\x00" * 900_000, b"[" * 900_000], ids=["not-utf-8", "control", "nested"]
)
async def test_the_largest_unreadable_message_fits_into_a_letter(running: Pipeline, body: bytes) -> None:
    running.start(only={"sync"})
    await running.resources.bus.jetstream.publish(subjects.command("sync", "deploy_big"), body)

    async def buried() -> list[Letter]:
        return await letters_of(running)

    [letter] = await until(buried)
    assert letter.content.reason == INVALID_MESSAGE
    assert "900000 bytes" in letter.content.body

    async def removed() -> bool:
        return not await running.resources.bus.commands("deploy_big")

    assert await until(removed)


KILLED = """
import os, sys
import shared.adapters.jetstream.provision, shared.lease
shared.adapters.jetstream.provision.ACK_WAIT_SECONDS = shared.lease.ACK_WAIT_SECONDS = 1.0
from services.steps.loader import open_ports
from shared.pipeline import BY_NAME
from shared.service import run_alone
from shared.worker import Worker
import asyncio

async def die(command, ports):
    await asyncio.sleep(0.2)
    os.kill(os.getpid(), 9)

run_alone("build", lambda r: Worker(BY_NAME["build"], die, open_ports(r), r.bus, r.deployments))
"""


async def test_a_build_that_kills_its_worker_three_times_is_poison(running: Pipeline, settings: Settings) -> None:
    running.start(only={"intake", "projector", "validate", "sandbox", "sync", "cleanup", "dead-letter"})
    deployment_id = await running.request()
    finished = asyncio.create_task(running.finished(deployment_id, within=60))
    killed = 0
    while not finished.done():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, env={**settings.as_environ(), "PYTHONPATH": ":".join(sys.path)}
        )
        ended = asyncio.create_task(process.wait())
        await asyncio.wait({ended, finished}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            killed += ended.result() == -9
        else:
            process.terminate()
            await ended
    progress = finished.result()
    assert progress.failure is not None
    assert (progress.outcome, progress.failure.code, killed) == ("failed", "WORKER_LOST", 3)
    [letter] = await letters_of(running)
    assert (letter.content.reason, letter.content.actor) == (SYSTEM_ERROR, "build")


def test_the_backoffs_of_a_step_stay_under_half_the_deadline() -> None:
    settings = load_settings({})
    together = sum(backoff_seconds(failed) for failed in range(1, settings.max_retries + 1))
    assert together < settings.deadline_seconds / 2
