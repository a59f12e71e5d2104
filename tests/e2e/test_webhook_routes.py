"""Webhooks over HTTP: made, changed, looked at and tried, by their own organisation alone."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest_asyncio

from infra.dev.data_dir import port_for
from services.webhooks import create as create_sender
from shared.adapters.postgres.tokens import Tokens
from shared.adapters.postgres.webhooks import MOST_WEBHOOKS
from tests.e2e.test_life_cycle import served
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until
from tests.webhook_endpoint import KEY, Endpoint, endpoint


@dataclass
class Stand:
    """A gateway, a running sender, an endpoint, and a client with an admin token of `org`."""

    running: Pipeline
    client: httpx.AsyncClient
    endpoint: Endpoint

    @property
    def token(self) -> str:
        return str(self.client.headers["authorization"]).removeprefix("Bearer ")

    async def webhook(self, path: str = "/hook", **more: object) -> dict[str, Any]:
        answer = await self.client.post("/webhooks", json={"url": self.endpoint.url + path, **more})
        assert answer.status_code == 201, answer.text
        self.endpoint.secrets[path] = answer.json()["secret"]
        return dict(answer.json()["webhook"])

    async def settled(self, webhook_id: str, delivery_id: str) -> dict[str, Any]:
        """Wait until a delivery is no longer pending; return it."""

        async def done() -> dict[str, Any] | None:
            body = (await self.client.get(f"/webhooks/{webhook_id}/deliveries/{delivery_id}")).json()
            return None if body["status"] == "pending" else body

        body: dict[str, Any] = await until(done)
        return body


@pytest_asyncio.fixture
async def stand(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    port = port_for("gateway", tmp_path, 0)
    allowed = {"encryption_keys": KEY, "webhook_allowed_networks": "127.0.0.0/8"}
    settings = settings_for(nats_server, database_url, tmp_path, port=port, **allowed)
    async with pipeline(settings) as running, served(running) as caller, endpoint() as receiver:
        stopping = asyncio.Event()
        sending = asyncio.create_task(create_sender(running.resources).run(stopping))
        yield Stand(running, caller.client, receiver)
        stopping.set()
        await sending


async def test_a_webhook_is_made_changed_and_removed(stand: Stand) -> None:
    made = await stand.webhook(events=["deployment.failed"], description="on call")
    assert stand.endpoint.secrets["/hook"].startswith("whsec_")
    path = f"/webhooks/{made['id']}"
    read = await stand.client.get(path)
    assert read.json()["webhook"] == made
    assert "secret" not in read.text
    assert (made["events"], made["isActive"], made["organizationId"]) == (["deployment.failed"], True, "org")
    every = await stand.webhook("/second")
    assert len(every["events"]) == 7
    changed = await stand.client.patch(path, json={"isActive": False, "events": ["deployment.succeeded"]})
    assert changed.json()["webhook"] == {**made, "isActive": False, "events": ["deployment.succeeded"]}
    listed = (await stand.client.get("/webhooks", params={"limit": 1})).json()
    rest = (await stand.client.get("/webhooks", params={"cursor": listed["nextCursor"]})).json()
    assert [row["id"] for row in listed["webhooks"] + rest["webhooks"]] == [every["id"], made["id"]]
    assert (await stand.client.delete(path)).json() == {"id": made["id"], "success": True}
    assert (await stand.client.get(path)).status_code == 404


async def test_wrong_webhooks_are_refused(stand: Stand) -> None:
    for url, code in [
        ("http://10.0.0.1/", "WEBHOOK_URL_REFUSED"),
        ("https://169.254.169.254/latest/meta-data", "WEBHOOK_URL_REFUSED"),
        ("https://[::1]/", "WEBHOOK_URL_REFUSED"),
        ("https://8.8.8.8/\x00", "Validation Error"),
    ]:
        answer = await stand.client.post("/webhooks", json={"url": url})
        assert (answer.status_code, answer.json()["error"]) == (400, code)
    made = await stand.webhook()
    moved = await stand.client.patch(f"/webhooks/{made['id']}", json={"url": "https://192.168.0.1/"})
    assert (moved.status_code, moved.json()["error"]) == (400, "WEBHOOK_URL_REFUSED")
    for wrong in ({}, {"url": made["url"], "events": []}, {"url": made["url"], "events": ["x"]}, {"url": 5}):
        assert (await stand.client.post("/webhooks", json=wrong)).json()["error"] == "Validation Error"
    for _ in range(MOST_WEBHOOKS - 1):
        await stand.webhook()
    full = await stand.client.post("/webhooks", json={"url": made["url"]})
    assert (full.status_code, full.json()["error"]) == (409, "WEBHOOK_LIMIT_REACHED")


async def test_a_test_message_tells_whether_the_endpoint_works(stand: Stand) -> None:
    made = await stand.webhook(events=["deployment.failed"])
    path = f"/webhooks/{made['id']}"
    asked = await stand.client.post(f"{path}/test")
    assert asked.status_code == 202
    delivery = await stand.settled(made["id"], asked.json()["delivery"]["id"])
    assert (delivery["status"], delivery["answer"], delivery["event"]) == ("delivered", 200, "webhook.test")
    [message] = stand.endpoint.messages
    assert message.body == delivery["payload"]
    assert message.id == delivery["id"]
    stand.endpoint.script["/hook"] = [503]
    asked = await stand.client.post(f"{path}/test")
    delivery = await stand.settled(made["id"], asked.json()["delivery"]["id"])
    assert (delivery["status"], delivery["fault"], delivery["tries"]) == ("failed", "HTTP 503", 1)
    again = await stand.client.post(f"{path}/deliveries/{delivery['id']}/redeliver")
    assert (again.status_code, again.json()["delivery"]["status"]) == (202, "pending")
    assert (await stand.settled(made["id"], delivery["id"]))["status"] == "delivered"
    assert [message.id for message in stand.endpoint.messages][1:] == [delivery["id"]] * 2


async def test_deliveries_are_paged_and_filtered(stand: Stand) -> None:
    made = await stand.webhook(events=["deployment.accepted"])
    for _ in range(3):
        await stand.running.request()
    messages = await stand.endpoint.arrived("/hook", 3)
    path = f"/webhooks/{made['id']}/deliveries"

    async def delivered() -> bool:
        return len((await stand.client.get(path, params={"status": "delivered"})).json()["deliveries"]) == 3

    await until(delivered)
    first = (await stand.client.get(path, params={"limit": 2})).json()
    rest = (await stand.client.get(path, params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert (len(first["deliveries"]), len(rest["deliveries"]), "nextCursor" in rest) == (2, 1, False)
    assert {row["id"] for row in first["deliveries"] + rest["deliveries"]} == {message.id for message in messages}
    assert (await stand.client.get(path, params={"status": "failed"})).json() == {"deliveries": []}


async def test_both_secrets_sign_while_a_rotation_is_under_way(stand: Stand) -> None:
    made = await stand.webhook()
    old = stand.endpoint.secrets["/hook"]
    rotated = (await stand.client.post(f"/webhooks/{made['id']}/secret")).json()
    assert rotated["secret"] != old
    assert rotated["webhook"]["previousSecretUntil"] > made["createdAt"]
    await stand.client.post(f"/webhooks/{made['id']}/test")
    await stand.endpoint.arrived("/hook")
    stand.endpoint.secrets["/hook"] = rotated["secret"]
    await stand.client.post(f"/webhooks/{made['id']}/test")
    assert len((await stand.endpoint.arrived("/hook", 2))[1].headers["webhook-signature"].split()) == 2
    await stand.running.resources.pool.execute("update webhook set previous_until = now()")
    await stand.client.post(f"/webhooks/{made['id']}/test")
    assert len((await stand.endpoint.arrived("/hook", 3))[2].headers["webhook-signature"].split()) == 1


async def test_a_webhook_that_is_off_is_sent_nothing(stand: Stand) -> None:
    made = await stand.webhook()
    await stand.client.patch(f"/webhooks/{made['id']}", json={"isActive": False})
    refused = await stand.client.post(f"/webhooks/{made['id']}/test")
    assert (refused.status_code, refused.json()["error"]) == (409, "WEBHOOK_INACTIVE")
    await stand.running.request()
    assert (await stand.client.get(f"/webhooks/{made['id']}/deliveries")).json() == {"deliveries": []}


async def test_foreign_webhooks_do_not_exist(stand: Stand) -> None:
    made = await stand.webhook()
    asked = (await stand.client.post(f"/webhooks/{made['id']}/test")).json()["delivery"]["id"]
    _, foreign = await Tokens(stand.running.resources.pool).create("foreign", ["admin"], "other", "eve")
    headers = {"Authorization": f"Bearer {foreign}"}
    for method, path in [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/secret"), ("POST", "/test"), ("GET", "/deliveries"),
        ("GET", f"/deliveries/{asked}"), ("POST", f"/deliveries/{asked}/redeliver"),
    ]:  # fmt: skip
        content = {"json": {"isActive": False}} if method == "PATCH" else {}
        answers = [
            await stand.client.request(method, f"/webhooks/{webhook_id}{path}", headers=headers, **content)
            for webhook_id in (made["id"], f"wh_{'0' * 32}")
        ]
        shown = [{**answer.json(), "timestamp": "", "requestId": ""} for answer in answers]
        assert [answer.status_code for answer in answers] == [404, 404], path
        assert shown[0] == shown[1]
    assert (await stand.client.get("/webhooks", headers=headers)).json() == {"webhooks": []}
    forged = await stand.client.post("/webhooks", json={"url": made["url"], "orgId": "org"}, headers=headers)
    assert forged.status_code == 403
    assert (await stand.client.get(f"/webhooks/{made['id']}")).json()["webhook"] == made


async def test_the_command_line_makes_tries_and_shows_webhooks(stand: Stand) -> None:
    async def zepid(*command: str) -> tuple[int | None, str]:
        environ = {"ZEPID_URL": str(stand.client.base_url), "ZEPID_TOKEN": stand.token}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cli", "webhooks", *command,
            env={**os.environ, **environ}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    code, output = await zepid("create", f"{stand.endpoint.url}/hook", "--event", "deployment.failed", "--json")
    made = msgspec.json.decode(output)
    webhook_id = made["webhook"]["id"]
    stand.endpoint.secrets["/hook"] = made["secret"]
    code, output = await zepid("test", webhook_id)
    assert (code, "delivered: HTTP 200" in output) == (0, True), output
    stand.endpoint.script["/hook"] = [500]
    code, output = await zepid("test", webhook_id)
    assert (code, "not delivered: HTTP 500" in output) == (1, True), output
    code, output = await zepid("deliveries", webhook_id, "--status", "failed")
    assert (code, output.count("HTTP 500")) == (0, 1), output
    code, output = await zepid("redeliver", webhook_id, output.splitlines()[1].split()[0])
    assert (code, "delivered: HTTP 200" in output) == (0, True), output
    code, output = await zepid("create", "https://10.0.0.1/")
    assert (code, "which is not public" in output) == (3, True), output
    assert (await zepid("off", webhook_id))[0] == 0
    code, output = await zepid("ls")
    assert (code, webhook_id in output, " off " in output) == (0, True, True), output
    assert (await zepid("rm", webhook_id)) == (0, f"{webhook_id} removed\n")
