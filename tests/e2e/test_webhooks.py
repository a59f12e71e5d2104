"""Webhooks from the transition that makes something true to the endpoint that is told, with everything that fails."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from infra.dev.data_dir import port_for
from services.webhooks.patience import Patience
from services.webhooks.sender import Sender
from shared.adapters.postgres.outbox import Outbox
from shared.adapters.postgres.webhooks import EVENTS, DeliveryRow, Webhooks, new_secret
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome, Reject
from shared.ports import Manifest, Ports
from shared.settings import Settings
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until
from tests.webhook_endpoint import HANG, KEY, Endpoint, endpoint

QUICK = Patience(disabled_after_seconds=3600, first_seconds=0.05, factor=1.0, longest_pause_seconds=0.1)


@dataclass
class Stand:
    """A pipeline, an endpoint, and senders that are quick to try again."""

    running: Pipeline
    endpoint: Endpoint
    webhooks: Webhooks
    senders: list[tuple[asyncio.Event, asyncio.Task[None]]] = field(default_factory=list)

    async def webhook(
        self, path: str, events: Sequence[str] = EVENTS, organization_id: str = "org", url: str = ""
    ) -> str:
        secret = self.endpoint.secrets[path] = new_secret()
        row = await self.webhooks.create(
            organization_id=organization_id,
            url=url or self.endpoint.url + path,
            description="",
            events=events,
            secret=secret,
        )
        assert row is not None
        return row.id

    def send(self, patience: Patience = QUICK, *, timeout: int = 30_000) -> None:
        """Start one more sender, which waits `timeout` milliseconds for an answer."""
        stopping = asyncio.Event()
        resources = self.running.resources
        settings = msgspec.structs.replace(resources.settings, webhook_timeout=timeout)
        sender = Sender(Outbox(resources.pool), resources.seal, settings, patience)
        self.senders.append((stopping, asyncio.create_task(sender.run(stopping))))

    async def stop_sending(self) -> None:
        for stopping, _ in self.senders:
            stopping.set()
        await asyncio.gather(*(task for _, task in self.senders))
        self.senders.clear()

    async def delivery(self, webhook_id: str, *, status: str, within: float = 15.0) -> DeliveryRow:
        """Wait until the webhook's latest delivery has this status."""

        async def reached() -> DeliveryRow | None:
            [latest] = await self.webhooks.deliveries(webhook_id, None, None, 1)
            return latest if latest.status == status else None

        row: DeliveryRow = await until(reached, within)
        return row

    async def all_delivered(self, webhook_id: str) -> None:
        async def delivered() -> bool:
            rows = await self.webhooks.deliveries(webhook_id, None, None, 100)
            return {row.status for row in rows} == {"delivered"}

        await until(delivered)

    async def record(self, webhook_id: str, count: int) -> None:
        """Record many deliveries at once."""
        await self.running.resources.pool.execute(
            "insert into webhook_delivery (id, webhook_id, event, payload)"
            " select new_message_id(), $1, 'deployment.accepted', webhook_message('deployment.accepted', '{}')"
            " from generate_series(1, $2)",
            webhook_id,
            count,
        )


@asynccontextmanager
async def stand_with(settings: Settings) -> AsyncIterator[Stand]:
    async with pipeline(settings) as running, endpoint() as receiver:
        stand = Stand(running, receiver, Webhooks(running.resources.pool, running.resources.seal))
        try:
            yield stand
        finally:
            await stand.stop_sending()


@pytest_asyncio.fixture
async def stand(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    allowed = {"encryption_keys": KEY, "webhook_allowed_networks": "127.0.0.0/8"}
    settings = settings_for(nats_server, database_url, tmp_path, **allowed)
    async with stand_with(settings) as stand:
        yield stand


async def go_live(command: Command, ports: Ports) -> Outcome:
    release = await ports.records.insert_release(command.deployment_id, "manifest", Manifest({}))
    assert await ports.records.point_to(command.deployment_id, release) == "pointed"
    return Done(msgspec.structs.replace(command.work, release=release, url="http://shop.test"))


async def break_down(command: Command, ports: Ports) -> Outcome:
    return Reject(ZepidError("BUILD_TYPE_ERROR", "wrong type", file="a.ts", line=3).failure(command.step))


# What is told


async def test_a_deployment_is_told_step_by_step_and_signed(stand: Stand) -> None:
    webhook_id = await stand.webhook("/all")
    stand.running.handlers["deploy"] = go_live
    stand.running.start()
    stand.send()
    deployment_id = await stand.running.request()
    messages = await stand.endpoint.arrived("/all", 4)
    told = {message.type: message.body["data"] for message in messages}
    assert set(told) == {"deployment.accepted", "deployment.started", "deployment.succeeded", "release.published"}
    accepted, succeeded, release = (
        told[name] for name in ("deployment.accepted", "deployment.succeeded", "release.published")
    )
    assert accepted["deploymentId"] == succeeded["deploymentId"] == release["deploymentId"] == deployment_id
    assert (succeeded["outcome"], succeeded["url"]) == ("completed", "http://shop.test")
    assert (release["releaseId"], release["url"]) == (succeeded["releaseId"], "http://shop.test")
    assert "outcome" not in accepted
    assert "startedAt" in told["deployment.started"]
    assert all(message.body["timestamp"].endswith("Z") for message in messages)
    await stand.all_delivered(webhook_id)
    rows = await stand.webhooks.deliveries(webhook_id, None, None, 10)
    assert {row.id for row in rows} == {message.id for message in messages}
    assert {(row.tries, row.answer) for row in rows} == {(1, 200)}


async def test_failure_and_cancel_tell_why(stand: Stand) -> None:
    await stand.webhook("/ends", ["deployment.succeeded", "deployment.failed", "deployment.cancelled"])
    await stand.webhook("/foreign", organization_id="other")
    stand.running.handlers["build"] = break_down
    cancelled = await stand.running.request()
    failure = ZepidError("CANCELLED", "cancelled on request").failure("gateway")
    for _ in range(2):
        await stand.running.resources.deployments.end(cancelled, "cancelled", failure)
    stand.running.start()
    stand.send()
    await stand.running.finished(await stand.running.request())
    messages = await stand.endpoint.arrived("/ends", 2)
    told = {message.type: message.body["data"] for message in messages}
    diagnosis = told["deployment.failed"]["diagnosis"]
    assert (diagnosis["code"], diagnosis["file"], diagnosis["line"]) == ("BUILD_TYPE_ERROR", "a.ts", 3)
    assert (told["deployment.cancelled"]["deploymentId"], len(messages)) == (cancelled, 2)
    assert stand.endpoint.at("/foreign") == []


async def test_what_is_refused_or_repeated_tells_nobody(stand: Stand) -> None:
    webhook_id = await stand.webhook("/all")
    project_id = await stand.running.project()
    await stand.running.request(project_id)
    with pytest.raises(AssertionError, match="in_progress"):
        await stand.running.request(project_id)
    await stand.running.resources.pool.execute("select announce('deployment.accepted', d) from deployment d")
    assert len(await stand.webhooks.deliveries(webhook_id, None, None, 10)) == 1


async def test_a_rollback_is_told_when_it_was_seen_live(stand: Stand) -> None:
    await stand.webhook("/all", ["release.published", "release.rolled_back"])
    stand.running.handlers["deploy"] = go_live
    stand.running.start()
    stand.send()
    project_id = await stand.running.project()
    for _ in range(2):
        await stand.running.finished(await stand.running.request(project_id))
    releases = [message.body["data"]["releaseId"] for message in await stand.endpoint.arrived("/all", 2)]
    pool = stand.running.resources.pool
    live = await pool.fetchval("select release_id from site where project_id = $1", project_id)
    [earlier] = set(releases) - {live}
    await pool.execute(
        "select verdict from roll_back('rb_1', $1, $2, 'ada', 'too green', '{local}')", project_id, earlier
    )
    for _ in range(2):
        await pool.execute("select settle_rollback('rb_1', null)")
    told = (await stand.endpoint.arrived("/all", 3))[2].body
    assert told["type"] == "release.rolled_back"
    facts = {name: told["data"][name] for name in ("releaseId", "fromReleaseId", "userId", "reason")}
    assert facts == {"releaseId": earlier, "fromReleaseId": live, "userId": "ada", "reason": "too green"}


# What fails


async def test_every_failure_is_tried_again_under_the_same_id(stand: Stand) -> None:
    webhook_id = await stand.webhook("/flaky")
    stand.endpoint.script["/flaky"] = [500, HANG, 302, 404]
    await stand.record(webhook_id, 1)
    faults = await _faults_until_delivered(stand, webhook_id)
    messages = stand.endpoint.at("/flaky")
    assert len(messages) == 5
    assert len({message.id for message in messages}) == 1
    assert stand.endpoint.at("/elsewhere") == []
    assert faults == {"HTTP 500", "No answer within 1 s", "HTTP 302: redirects are not followed", "HTTP 404"}
    assert (await stand.delivery(webhook_id, status="delivered")).tries == 5
    webhook = await stand.webhooks.find(webhook_id)
    assert webhook is not None
    assert (webhook.failures, webhook.failing_since, webhook.is_active) == (0, None, True)


async def _faults_until_delivered(stand: Stand, webhook_id: str) -> set[str]:
    faults: set[str] = set()

    async def delivered() -> bool:
        [row] = await stand.webhooks.deliveries(webhook_id, None, None, 1)
        faults.update({row.fault} if row.fault else ())
        return row.status == "delivered"

    stand.send(Patience(3600, first_seconds=0.3, factor=1.0, longest_pause_seconds=0.1), timeout=1000)
    await until(delivered)
    return faults


async def test_a_message_is_given_up_after_its_last_try(stand: Stand, tmp_path: Path) -> None:
    nobody = port_for("nobody", tmp_path, 0)
    webhook_id = await stand.webhook("/away", url=f"http://127.0.0.1:{nobody}/away")
    await stand.record(webhook_id, 1)
    stand.send(Patience(3600, first_seconds=0.02, factor=1.0, tries=4, longest_pause_seconds=0.05))
    row = await stand.delivery(webhook_id, status="failed")
    assert (row.tries, row.answer, row.next_try_at) == (4, None, None)
    assert row.fault is not None
    assert row.fault.startswith("The connection failed")


async def test_an_address_that_is_private_now_is_not_reached_although_it_was_registered(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with stand_with(settings_for(nats_server, database_url, tmp_path, encryption_keys=KEY)) as stand:
        port = stand.endpoint.url.rpartition(":")[2]
        webhook_id = await stand.webhook("/inside", url=f"http://localhost:{port}/inside")
        await stand.record(webhook_id, 1)
        stand.send(Patience(3600, first_seconds=0.02, factor=1.0, tries=2))
        row = await stand.delivery(webhook_id, status="failed")
        assert row.fault is not None
        assert row.fault.endswith("which is not public")
        assert stand.endpoint.messages == []


async def test_a_webhook_that_failed_for_days_is_switched_off_and_says_why(stand: Stand) -> None:
    webhook_id = await stand.webhook("/dead")
    gone_id = await stand.webhook("/gone", events=["deployment.failed"])
    stand.endpoint.script.update({"/dead": [500] * 100, "/gone": [410]})
    await stand.record(webhook_id, 1)
    await stand.record(gone_id, 1)
    stand.send(Patience(disabled_after_seconds=0.5, first_seconds=0.2, factor=1.0, longest_pause_seconds=0.1))

    async def disabled() -> bool:
        rows = [await stand.webhooks.find(each) for each in (webhook_id, gone_id)]
        return not any(row and row.is_active for row in rows)

    await until(disabled)
    row, gone = await stand.webhooks.find(webhook_id), await stand.webhooks.find(gone_id)
    assert row is not None
    assert gone is not None
    assert row.disabled_reason is not None
    assert row.disabled_reason.startswith("Every try since ")
    assert row.disabled_reason.endswith("failed; the last: HTTP 500")
    assert gone.disabled_reason == "The endpoint wants no more messages: it answered HTTP 410"
    await stand.running.request()
    assert len(await stand.webhooks.deliveries(webhook_id, None, None, 10)) == 1, "nothing more is recorded for it"
    stand.endpoint.script.clear()
    await stand.webhooks.change(webhook_id, is_active=True)
    assert (await stand.delivery(webhook_id, status="delivered")).answer == 200


async def test_ten_thousand_messages_to_a_dead_endpoint_delay_no_other(stand: Stand) -> None:
    dead = await stand.webhook("/dead", organization_id="dead")
    slow = await stand.webhook("/slow", organization_id="slow")
    alive = await stand.webhook("/alive", organization_id="alive")
    stand.endpoint.script.update({"/dead": [HANG] * 20_000, "/slow": [HANG] * 20_000})
    await stand.record(dead, 10_000)
    await stand.record(slow, 1_000)
    stand.send(Patience(3600), timeout=1000)
    await stand.endpoint.arrived("/dead", 4)
    delays = []
    for _ in range(5):
        await stand.record(alive, 1)
        began, known = time.monotonic(), len(stand.endpoint.at("/alive"))
        await stand.endpoint.arrived("/alive", known + 1)
        delays.append(time.monotonic() - began)
    assert max(delays) < 3, delays
    assert len(stand.endpoint.at("/dead")) < 20, "an endpoint that fails is left alone, one probe at a time"


# Senders that die, and several of them


async def test_a_sender_killed_between_sending_and_recording_sends_again_under_the_same_id(stand: Stand) -> None:
    webhook_id = await stand.webhook("/slow")
    stand.endpoint.script["/slow"] = [HANG]
    await stand.record(webhook_id, 1)
    settings = msgspec.structs.replace(stand.running.resources.settings, webhook_timeout=60_000)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.webhooks", env={**os.environ, **settings.as_environ()}
    )
    try:
        [first] = await stand.endpoint.arrived("/slow", within=30)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    stand.send()
    [row] = await stand.webhooks.deliveries(webhook_id, None, None, 1)
    assert (row.status, row.tries) == ("pending", 1)
    await stand.running.resources.pool.execute("update webhook_delivery set leased_until = clock_timestamp()")
    _, second = await stand.endpoint.arrived("/slow", 2)
    assert (first.id, first.body) == (second.id, second.body)
    assert (await stand.delivery(webhook_id, status="delivered")).tries == 2


async def test_senders_side_by_side_send_each_message_once(stand: Stand) -> None:
    paths = [f"/{number}" for number in range(5)]
    for path in paths:
        await stand.record(await stand.webhook(path, organization_id=path), 60)
    for _ in range(3):
        stand.send()
    for path in paths:
        await stand.endpoint.arrived(path, 60, within=30)
    await stand.stop_sending()
    assert set(Counter(message.id for message in stand.endpoint.messages).values()) == {1}
    assert len(stand.endpoint.messages) == 300


async def test_a_late_failure_of_a_lost_lease_is_not_recorded(stand: Stand) -> None:
    webhook_id = await stand.webhook("/all")
    await stand.record(webhook_id, 1)
    outbox = Outbox(stand.running.resources.pool)
    [first] = await outbox.claim(10, limit_of_one=4, failing=3, lease_seconds=0)
    [second] = await outbox.claim(10, limit_of_one=4, failing=3, lease_seconds=60)
    assert await outbox.claim(10, limit_of_one=4, failing=3, lease_seconds=60) == []
    await outbox.succeeded(second, 204)
    await outbox.failed(
        first, answer=500, fault="HTTP 500", retry_seconds=0, pause_seconds=0, disabled_reason="too late"
    )
    [row] = await stand.webhooks.deliveries(webhook_id, None, None, 1)
    webhook = await stand.webhooks.find(webhook_id)
    assert (row.status, row.tries, row.answer, row.fault) == ("delivered", 2, 204, None)
    assert webhook is not None
    assert (webhook.failures, webhook.is_active) == (0, True)
