"""The HTTP contract, over a real server, database, broker and object store."""

import asyncio
import io
import tarfile
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from blake3 import blake3

from infra.dev.nats import NatsServer
from services.gateway.app import create_app
from services.gateway.ports import GatewayPorts
from shared.adapters.postgres.tokens import Tokens
from shared.client.bundle import bundle
from shared.contracts.events import Admitted, Ended, Event, Started, Succeeded
from shared.contracts.messages import Command, LogChunk, LogLine, Wake, Work
from shared.log_lines import archive_prefix, numbered
from shared.pipeline import STEPS
from tests.stand import DEADLINE, Stand, eventually


async def collect(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


def life_of(deployment_id: str, outcome: str = "completed") -> list[Event]:
    """Everything that happens to a deployment, from admission to cleanup."""
    command = Command(
        deployment_id=deployment_id, project_id="p", organization_id="acme", step="validate", deadline=0,
        work=Work(source=""),
    )  # fmt: skip
    now = time.time()
    events: list[Event] = [Admitted(deployment_id=deployment_id, actor="intake", at=now, next=command)]
    for step in STEPS:
        events.append(Started(deployment_id=deployment_id, actor=step.name, at=now, attempt=1))
        events.append(Succeeded(deployment_id=deployment_id, actor=step.name, at=now + 1, attempt=1, started_at=now))
    url = "http://shop.localhost:3080"
    ended = Ended(deployment_id=deployment_id, actor="deploy", at=now + 1, outcome=outcome, url=url)
    return [*events[:-2], ended, *events[-2:]]


# Acceptance


async def test_an_accepted_deployment_is_recorded_and_wakes_intake(stand):
    project_id = await stand.project()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await stand.client.post(
        "/deploy", json={"projectId": project_id, "orgId": "acme", "userId": "ada"}, headers={"traceparent": trace}
    )
    body = answer.json()
    assert answer.status_code == 200
    assert body.pop("timestamp").endswith("Z")
    deployment_id = body["deploymentId"]
    assert deployment_id.startswith("deploy_")
    assert body == {
        "success": True, "deploymentId": deployment_id, "id": deployment_id, "status": "queued",
        "message": "Deployment initiated successfully", "details": {"status": "queued"},
    }  # fmt: skip
    row = await stand.resources.pool.fetchrow("select * from deployment where id = $1", deployment_id)
    assert (row["organization_id"], row["user_id"], row["traceparent"]) == ("acme", "ada", trace)
    jetstream = stand.resources.bus.jetstream
    queue = await jetstream.pull_subscribe_bind("intake", stream="deployment-queue")
    [message] = await queue.fetch(1, timeout=DEADLINE)
    assert msgspec.json.decode(message.data, type=Wake).deployment_id == deployment_id
    assert message.headers["traceparent"] == trace


async def test_wrong_fields_are_named_all_at_once_and_before_the_token_is_looked_at(stand):
    answer = await stand.client.post(
        "/deploy",
        json={"projectId": "", "userId": 5, "initFiles": [{"path": "a"}], "supersede": "yes", "historyMessages": "[]"},
        headers={"authorization": ""},
    )
    body = answer.json()
    assert answer.status_code == 400
    assert (body["success"], body["error"], body["message"]) == (False, "Validation Error", "Request validation failed")
    fields = body["details"]["fieldErrors"]
    assert body["details"]["formErrors"] == []
    assert fields["projectId"] == ["Project ID is required"]
    assert fields["orgId"] == ["Organization ID is required"]
    assert set(fields) == {"projectId", "orgId", "userId", "initFiles", "supersede"}
    assert body["requestId"] == answer.headers["x-request-id"]


async def test_a_body_that_is_not_json_is_an_invalid_request(stand):
    answer = await stand.client.post("/deploy", content=b"{nonsense", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "INVALID_REQUEST")


async def test_refusals_come_in_the_order_of_the_contract(stand):
    project_id = await stand.project()
    order = {"projectId": project_id, "orgId": "acme", "userId": "ada"}
    anonymous = await stand.client.post("/deploy", json=order, headers={"authorization": "Bearer zpd_wrong"})
    assert (anonymous.status_code, anonymous.json()["error"]) == (401, "Unauthorized")
    foreign = await stand.client.post("/deploy", json={**order, "orgId": "other", "projectId": "none"})
    assert (foreign.status_code, foreign.json()["error"]) == (403, "Forbidden")
    unknown = await stand.client.post("/deploy", json={**order, "projectId": "none"})
    assert (unknown.status_code, unknown.json()["error"]) == (404, "Project not found")
    assert unknown.json()["message"] == "The specified project does not exist or you do not have access to it"
    assert (await stand.deploy(project_id, source={"type": "snapshot", "id": "snap_none"})).status_code == 400
    first = await stand.deploy(project_id)
    second = await stand.deploy(project_id)
    assert (first.status_code, second.status_code) == (200, 409)
    assert second.json()["error"] == "Deployment in progress"
    assert "in 'preparing' state" in second.json()["message"]
    assert second.json()["deploymentId"] == first.json()["deploymentId"]


async def test_of_many_simultaneous_orders_for_one_project_one_is_accepted(stand):
    project_id = await stand.project()
    answers = await asyncio.gather(*(stand.deploy(project_id) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19


# Access


async def test_only_the_public_routes_answer_without_a_token(stand):
    app_routes = create_app(GatewayPorts.of(stand.resources)).routes
    public = set()
    async with httpx.AsyncClient(base_url=stand.url) as anonymous:
        for route in app_routes:
            for method in route.methods - {"OPTIONS"}:
                path = route.path.replace("{deployment_id:str}", "deploy_1").replace("{project_id:str}", "p")
                path = path.replace("{digest:str}", "0" * 64).replace("{path:str}", "x").replace("{sequence:int}", "1")
                order = {"projectId": "p", "orgId": "acme", "userId": "ada"}
                answer = await anonymous.request(method, path, json=order if path == "/deploy" else None)
                assert "authorization" not in answer.request.headers
                if answer.status_code != 401:
                    public.add(route.path)
    assert public == {
        "/", "/health", "/health/detailed", "/health/live", "/health/ready", "/openapi.json",
        "/dashboard", "/docs", "/docs/openapi.json", "/docs/{path:str}",
    }  # fmt: skip


async def test_what_a_foreign_organisation_owns_answers_like_what_is_missing(stand):
    project_id = await stand.project()
    deployment_id = (await stand.deploy(project_id)).json()["deploymentId"]
    _, token = await Tokens(stand.resources.pool).create("other", ["admin"], "other", "eve")
    foreign = {"authorization": f"Bearer {token}"}

    async def error_of(path: str, method: str = "GET", **body: object) -> tuple[int, str, str]:
        answer = await stand.client.request(method, path, headers=foreign, **body)
        return answer.status_code, answer.json()["error"], answer.json()["message"]

    for kind in ("status", "logs", "events", "logs/stream"):
        assert await error_of(f"/deploy/{deployment_id}/{kind}") == await error_of(f"/deploy/deploy_none/{kind}")
    assert await error_of(f"/projects/{project_id}") == await error_of("/projects/none")
    tree = {"files": {}}
    assert (await error_of(f"/projects/{project_id}/source", "POST", json=tree))[0] == 404
    assert (await error_of(f"/projects/{project_id}/source", "PUT", content=b""))[0] == 404
    assert (await error_of("/status/deployments?orgId=acme"))[0] == 403
    assert (await stand.client.get("/projects", headers=foreign)).json() == {"projects": []}
    assert (await stand.client.get("/status/deployments", headers=foreign)).json() == {"deployments": []}


async def test_a_token_needs_the_scope_of_the_route(stand):
    _, token = await Tokens(stand.resources.pool).create("reader", ["read"], "acme", "ada")
    reader = {"authorization": f"Bearer {token}"}
    assert (await stand.client.get("/projects", headers=reader)).status_code == 200
    assert (await stand.client.post("/projects", json={"name": "x"}, headers=reader)).status_code == 403
    whoami = (await stand.client.get("/whoami", headers=reader)).json()
    assert whoami == {"tokenName": "reader", "organizationId": "acme", "userId": "ada", "scopes": ["read"]}


async def test_tokens_are_stored_hashed_and_expire(stand):
    pool = stand.resources.pool
    key_id, token = await Tokens(pool).create("short", ["read"], "acme", "ada")
    assert token.startswith("zpd_")
    assert token.encode() not in await pool.fetchval("select hash from api_key where id = $1", key_id)
    await pool.execute("update api_key set expires_at = now() - interval '1 second' where id = $1", key_id)
    answer = await stand.client.get("/whoami", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


# Status


async def test_a_waiting_deployment_is_pending_with_its_place_in_the_queue(stand):
    await stand.deployment()
    deployment_id = await stand.deployment()
    body = (await stand.client.get(f"/deploy/{deployment_id}/status")).json()
    assert (body["status"], body["progress"], body["queuePosition"]) == ("pending", 0, 2)
    assert body["steps"]["build"] == {"status": "pending", "attempts": 0}
    by_query = (await stand.client.get(f"/deploy-status?id={deployment_id}")).json()
    assert {**by_query, "timestamp": ""} == {**body, "timestamp": ""}


async def test_a_projected_deployment_shows_its_steps_outcome_and_address(stand):
    deployment_id = await stand.deployment()
    await stand.project_rows(*life_of(deployment_id))
    body = (await stand.client.get(f"/deploy/{deployment_id}/status")).json()
    assert (body["status"], body["progress"], body["stage"]) == ("completed", 100, "cleanup")
    assert body["workerUrl"] == "http://shop.localhost:3080"
    assert body["steps"]["build"]["duration"] == 1000
    assert "error" not in body
    first = await stand.client.get(f"/deploy-status?instanceId={deployment_id}")
    assert first.json() == {"status": {"status": "complete", "output": {"workerUrl": "http://shop.localhost:3080"}}}
    posted = await stand.client.post(f"/deploy?instanceId={deployment_id}")
    assert posted.status_code == 200, posted.text
    assert (posted.json()["id"], posted.json()["details"]["status"]) == (deployment_id, "complete")
    assert (await stand.client.post("/deploy?instanceId=none")).status_code == 404


async def test_a_status_that_has_not_changed_is_not_sent_again(stand):
    deployment_id = await stand.deployment()
    path = f"/deploy/{deployment_id}/status"
    tag = (await stand.client.get(path)).headers["etag"]
    again = await stand.client.get(path, headers={"if-none-match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    await stand.project_rows(*life_of(deployment_id))
    changed = await stand.client.get(path, headers={"if-none-match": tag})
    assert (changed.status_code, changed.json()["status"]) == (200, "completed")


async def test_deployments_are_listed_newest_first_in_pages_and_by_status(stand):
    ids = [await stand.deployment() for _ in range(3)]
    await stand.project_rows(*life_of(ids[0])[:4])
    seen, cursor = [], None
    while True:
        page = (await stand.client.get("/status/deployments", params={"limit": 2, "cursor": cursor or ""})).json()
        seen += [row["deploymentId"] for row in page["deployments"]]
        if not (cursor := page.get("nextCursor")):
            break
    assert seen == ids[::-1]
    creating = (await stand.client.get("/status/deployments?status=creating_sandbox")).json()["deployments"]
    assert [(row["deploymentId"], row["projectName"], row["progress"]) for row in creating] == [(ids[0], "Shop", 10)]
    assert len((await stand.client.get("/status/deployments?status=pending")).json()["deployments"]) == 2


# Live events


async def read_events(stand: Stand, path: str, last_id: str = "") -> AsyncIterator[tuple[str, str, dict]]:
    """Yield (event, id, data) until the stream ends."""
    headers = {"last-event-id": last_id} if last_id else {}
    async with stand.client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "event" in fields:
                yield fields["event"], fields.get("id", ""), msgspec.json.decode(fields["data"])
                fields = {}


async def test_events_replay_the_past_then_follow_to_the_end(stand):
    deployment_id = await stand.deployment()
    life = life_of(deployment_id)
    await stand.record(*life[:5])
    seen = []
    async with asyncio.timeout(DEADLINE):
        async for event in read_events(stand, f"/deploy/{deployment_id}/events"):
            seen.append(event)
            if event[2]["progress"] == 25 and len(life) > 5:
                await stand.record(*life[5:])
                life = []
    assert [name for name, _, _ in seen[-2:]] == ["status", "end"]
    assert seen[-1][2]["status"] == "completed"
    progress = [data["progress"] for _, _, data in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 100
    assert seen[0][2]["status"] == "pending"
    ids = [int(event_id) for _, event_id, _ in seen[1:]]
    assert ids == sorted(ids)
    bodies = [{**data, "timestamp": ""} for name, _, data in seen if name == "status"]
    assert all(one != other for one, other in pairwise(bodies))

    middle = seen[4][1]
    async with asyncio.timeout(DEADLINE):
        resumed = [event async for event in read_events(stand, f"/deploy/{deployment_id}/events", middle)]
    assert [event_id for _, event_id, _ in resumed] == [event_id for _, event_id, _ in seen[5:]]


async def test_the_events_of_a_finished_deployment_come_from_the_database(stand):
    deployment_id = await stand.deployment()
    await stand.project_rows(*life_of(deployment_id, "failed"))
    async with asyncio.timeout(DEADLINE):
        seen = [event async for event in read_events(stand, f"/deploy/{deployment_id}/events")]
    assert [(name, data["status"]) for name, _, data in seen] == [("status", "failed"), ("end", "failed")]


async def test_the_end_is_told_when_the_status_shows_it(stand, monkeypatch):
    monkeypatch.setattr("services.gateway.stories._PROJECTED_SECONDS", DEADLINE)
    deployment_id = await stand.deployment()
    life = life_of(deployment_id)
    await stand.record(*life)
    names: list[str] = []

    async def watch() -> None:
        async for name, _, _ in read_events(stand, f"/deploy/{deployment_id}/events"):
            names.append(name)

    async with asyncio.timeout(DEADLINE):
        watching = asyncio.create_task(watch())
        await asyncio.sleep(1)
        assert "end" not in names
        await stand.project_rows(*life)
        await watching
    assert names[-1] == "end"
    status = await stand.client.get(f"/deploy/{deployment_id}/status")
    assert status.json()["status"] == "completed"


async def append(stand: Stand, deployment_id: str, number: int, *messages: str, step: str = "build") -> None:
    lines = tuple(LogLine(timestamp=1_767_225_600.5, message=message, stream="stdout") for message in messages)
    await stand.resources.bus.append_log(
        LogChunk(deployment_id=deployment_id, step=step, attempt=1, number=number, lines=lines),
        copy="0.0.1",
    )


async def test_a_log_is_followed_live_with_its_gaps_to_the_last_line(stand):
    deployment_id = await stand.deployment()
    await append(stand, deployment_id, 0, "one", "two")
    life = life_of(deployment_id)
    seen = []
    async with asyncio.timeout(DEADLINE):
        async for name, event_id, data in read_events(stand, f"/deploy/{deployment_id}/logs/stream"):
            seen.append((name, data.get("message", data.get("chunks", data.get("status")))))
            if seen[-1][1] == "two":
                resume = event_id
                await append(stand, deployment_id, 2, "four")
            if seen[-1][1] == "four":
                await append(stand, deployment_id, 0, "last", step="cleanup")
                await stand.record(*life)
    assert seen == [
        ("log", "one"), ("log", "two"), ("gap", 1), ("log", "four"), ("log", "last"), ("end", "completed"),
    ]  # fmt: skip
    async with asyncio.timeout(DEADLINE):
        again = [event async for event in read_events(stand, f"/deploy/{deployment_id}/logs/stream", resume)]
    assert [data.get("message") for name, _, data in again if name == "log"] == ["four", "last"]


async def test_watchers_go_on_after_the_broker_was_restarted(stand, nats_process: NatsServer):
    deployment_id = await stand.deployment()
    life = life_of(deployment_id)
    await stand.record(*life[:3])
    restarted = False
    seen = []
    async with asyncio.timeout(60):
        async for name, _, data in read_events(stand, f"/deploy/{deployment_id}/events"):
            seen.append((name, data["status"]))
            if data["progress"] == 10 and not restarted:
                restarted = True
                await nats_process.stop()
                await nats_process.start()
                await stand.record(*life[3:])
    assert seen[-1] == ("end", "completed")


async def test_a_watcher_that_leaves_is_forgotten(stand):
    deployment_id = await stand.deployment()
    reading = asyncio.ensure_future(collect(read_events(stand, f"/deploy/{deployment_id}/logs/stream")))
    await eventually(lambda: stand.gateway.logs.watched and stand.gateway.events.watched)
    reading.cancel()
    await eventually(lambda: not stand.gateway.logs.watched and not stand.gateway.events.watched)


async def test_all_watchers_of_a_deployment_see_every_change_wherever_they_began(stand):
    deployment_id = await stand.deployment()
    path = f"/deploy/{deployment_id}/events"
    life = life_of(deployment_id)
    early = [asyncio.ensure_future(collect(read_events(stand, path))) for _ in range(20)]
    await eventually(lambda: stand.gateway.events.watched)
    await stand.record(*life[:6])
    late = asyncio.ensure_future(collect(read_events(stand, path)))
    await stand.record(*life[6:])
    async with asyncio.timeout(DEADLINE):
        first, *others = [numbered_events(seen) for seen in await asyncio.gather(*early, late)]
    assert [name for name, _, _ in first].count("end") == 1
    assert all(seen == first for seen in others)


def numbered_events(seen: list[tuple[str, str, dict]]) -> list[tuple[str, str, dict]]:
    return [(name, number, {**data, "timestamp": ""}) for name, number, data in seen if number]


async def test_head_answers_like_get_without_a_body(stand):
    deployment_id = await stand.deployment()
    for path in ("/health", "/docs", f"/deploy/{deployment_id}/status", f"/deploy/{deployment_id}/events", "/nowhere"):
        async with asyncio.timeout(DEADLINE), stand.client.stream("GET", path) as answer:
            got = answer.status_code, answer.headers["content-type"]
        async with asyncio.timeout(DEADLINE):
            head = await stand.client.head(path)
        assert (head.status_code, head.headers["content-type"], head.content) == (*got, b"")
    await eventually(lambda: not stand.gateway.events.watched)


async def test_streams_end_when_the_gateway_stops(stand):
    deployment_id = await stand.deployment()
    reading = asyncio.ensure_future(collect(read_events(stand, f"/deploy/{deployment_id}/events")))
    await eventually(lambda: stand.gateway.events.watched)
    await stand.gateway.stop()
    async with asyncio.timeout(DEADLINE):
        assert [name for name, _, _ in await reading] == ["status"]


# Logs


async def test_a_log_is_read_in_pages_by_step_and_as_text(stand):
    deployment_id = await stand.deployment()
    await append(stand, deployment_id, 0, "planning", step="validate")
    await append(stand, deployment_id, 0, *(f"line {number}" for number in range(5)))
    path = f"/deploy/{deployment_id}/logs"
    first = (await stand.client.get(path, params={"limit": 4})).json()
    second = (await stand.client.get(path, params={"limit": 4, "cursor": first["nextCursor"]})).json()
    messages = [line["message"] for line in first["logs"] + second["logs"]]
    assert messages == ["planning", *(f"line {number}" for number in range(5))]
    assert "nextCursor" not in second
    assert first["complete"] is False
    line = first["logs"][0]
    assert line["timestamp"] == "2026-01-01T00:00:00.500Z"
    assert (line["step"], line["attempt"], line["stream"], line["level"]) == ("validate", 1, "stdout", "info")
    assert len((await stand.client.get(path, params={"step": "build"})).json()["logs"]) == 5
    text = await stand.client.get(path, params={"format": "text", "step": "validate"})
    assert text.text == "2026-01-01T00:00:00.500Z validate planning\n"
    ndjson = await stand.client.get(path, params={"format": "ndjson", "limit": 2})
    assert ndjson.text.count("\n") == 2
    assert ndjson.headers["x-next-cursor"] == str(first["logs"][1]["seq"])
    assert (await stand.client.get(path, params={"cursor": "x"})).status_code == 400


async def test_an_archived_log_has_the_same_lines_and_numbers_as_the_stream(stand):
    deployment_id = await stand.deployment()
    await append(stand, deployment_id, 0, "one", "two")
    streamed = (await stand.client.get(f"/deploy/{deployment_id}/logs")).json()["logs"]
    chunk = LogChunk(
        deployment_id=deployment_id, step="build", attempt=1, number=0,
        lines=tuple(LogLine(timestamp=1_767_225_600.5, message=message, stream="stdout") for message in ("one", "two")),
    )  # fmt: skip
    archived = b"".join(msgspec.json.encode(line) + b"\n" for line in numbered(chunk, streamed[0]["seq"] // 1000))
    await stand.resources.logs.put(f"{archive_prefix(deployment_id)}04-build.1.ndjson", archived)
    assert (await stand.client.get(f"/deploy/{deployment_id}/logs")).json()["logs"] == streamed
    await stand.resources.bus.jetstream.purge_stream("deployment-logs")
    assert (await stand.client.get(f"/deploy/{deployment_id}/logs")).json()["logs"] == streamed


# Projects and sources


async def test_a_project_has_an_address_and_its_settings(stand):
    answer = await stand.client.post(
        "/projects", json={"name": "Ümlaut Shop!", "settings": {"buildCommand": "make", "outputDirectory": "out"}}
    )
    project = answer.json()["project"]
    assert answer.status_code == 201
    assert project["id"].startswith("mlaut-shop-")
    assert project["url"] == f"http://{project['workerName']}.localhost:3080"
    assert project["settings"] == {"buildCommand": "make", "outputDirectory": "out"}
    assert (project["organizationId"], project["isActive"]) == ("acme", True)
    assert (await stand.client.get(f"/projects/{project['id']}")).json()["project"] == project
    wrong = await stand.client.post("/projects", json={"name": "x", "settings": {"biuldCommand": "make"}})
    assert wrong.status_code == 400
    assert "biuldCommand" in wrong.text
    assert (await stand.client.post("/projects", json={"orgId": "acme"})).json()["details"]["fieldErrors"] == {
        "name": ["Required"]
    }
    assert (await stand.client.post("/projects", json={"name": "x", "orgId": "other"})).status_code == 403


async def test_projects_are_listed_in_pages(stand):
    ids = [await stand.project(f"site {number}") for number in range(3)]
    page = (await stand.client.get("/projects?limit=2")).json()
    rest = (await stand.client.get("/projects", params={"limit": 2, "cursor": page["nextCursor"]})).json()
    assert [project["id"] for project in page["projects"] + rest["projects"]] == ids[::-1]
    assert "nextCursor" not in rest


def entry(data: bytes, **more: object) -> dict[str, object]:
    return {"digest": blake3(data).hexdigest(), "size": len(data), **more}


async def test_only_missing_blobs_are_uploaded_and_an_unchanged_tree_keeps_its_snapshot(stand):
    project_id = await stand.project()
    files = {"index.html": entry(b"<h1>"), "run.sh": entry(b"#!", mode=0o755), "node_modules/x": entry(b"no")}
    path = f"/projects/{project_id}/source"
    offered = (await stand.client.post(path, json={"files": files})).json()
    missing = [files["index.html"]["digest"], files["run.sh"]["digest"]]
    assert offered == {"missing": missing, "files": 2, "totalBytes": 6}
    assert (await stand.client.put(f"/blobs/{missing[0]}", content=b"wrong")).status_code == 400
    assert (await stand.client.put(f"/blobs/{missing[0]}", content=b"<h1>")).status_code == 201
    assert (await stand.client.put(f"/blobs/{missing[0]}", content=b"<h1>")).status_code == 200
    assert (await stand.client.post(path, json={"files": files})).json()["missing"] == missing[1:]
    await stand.client.put(f"/blobs/{missing[1]}", content=b"#!")
    stored = (await stand.client.post(path, json={"files": files})).json()
    assert stored["missing"] == []
    assert stored["snapshotId"].startswith("snap_")
    assert (await stand.client.post(path, json={"files": files})).json() == stored
    changed = (await stand.client.post(path, json={"files": {"index.html": files["index.html"]}})).json()
    assert changed["snapshotId"] != stored["snapshotId"]
    accepted = await stand.deploy(project_id, source={"type": "snapshot", "id": stored["snapshotId"]})
    source = await stand.resources.pool.fetchval(
        "select source from deployment where id = $1", accepted.json()["deploymentId"]
    )
    manifest = msgspec.json.decode(await stand.resources.artifacts.get(f"blobs/{source}") or b"")
    assert manifest["files"]["run.sh"]["mode"] == 0o755


async def test_many_blobs_are_uploaded_at_once_each_under_the_digest_of_its_bytes(stand):
    path = f"/projects/{await stand.project()}/source"
    texts = [b"%d" % number for number in range(300)]
    files = {f"{number}.txt": entry(text) for number, text in enumerate(texts)}
    blobs = {blake3(text).hexdigest(): text for text in texts}
    answer = await stand.client.post("/blobs", content=bundle(blobs))
    assert (answer.status_code, answer.json()) == (200, {"files": 300, "totalBytes": sum(map(len, texts))})
    assert (await stand.client.post(path, json={"files": files})).json()["missing"] == []
    wrong = await stand.client.post("/blobs", content=bundle({"0" * 64: b"other"}))
    assert (wrong.status_code, wrong.json()["error"]) == (400, "SOURCE_INVALID")
    assert blake3(b"other").hexdigest() in wrong.json()["message"]


async def test_a_blob_of_another_organisation_is_missing_for_this_one(stand):
    digest = blake3(b"secret").hexdigest()
    _, token = await Tokens(stand.resources.pool).create("other", ["deploy"], "other", "eve")
    await stand.client.put(f"/blobs/{digest}", content=b"secret", headers={"authorization": f"Bearer {token}"})
    project_id = await stand.project()
    offered = await stand.client.post(f"/projects/{project_id}/source", json={"files": {"a": entry(b"secret")}})
    assert offered.json()["missing"] == [digest]


def tar_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo("./" + name.replace("__", "/"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def test_an_archive_and_the_delta_form_of_the_same_tree_are_the_same_snapshot(stand):
    project_id = await stand.project()
    path = f"/projects/{project_id}/source"
    archive = tar_of(index=b"<h1>", src__main=b"x" * 200_000, node_modules__y=b"no")
    unpacked = await stand.client.put(path, content=archive)
    assert unpacked.status_code == 200, unpacked.text
    assert unpacked.json()["files"] == 2
    files = {"index": entry(b"<h1>"), "src/main": entry(b"x" * 200_000)}
    assert (await stand.client.post(path, json={"files": files})).json() == unpacked.json()
    refused = await stand.client.put(path, content=tar_of(**{"..__..__evil": b"x"}))
    assert (refused.status_code, refused.json()["error"]) == (400, "SOURCE_INVALID")
    assert (await stand.client.put(path, content=b"not a tar")).status_code == 400


# Health and the rest


async def test_health_is_asked_for_real(stand, nats_process: NatsServer):
    health = await stand.client.get("/health")
    assert health.status_code == 200
    assert health.json()["checks"] == {"database": "healthy", "queue": "healthy", "storage": "healthy"}
    assert (health.json()["service"], health.json()["version"]) == ("Zepid Deploy V2", "2.0.0")
    detailed = (await stand.client.get("/health/detailed")).json()
    assert detailed["checks"]["database"]["latencyMs"] > 0
    assert list(detailed["queue"]) == ["intake", *(step.name for step in STEPS)]
    assert (await stand.client.get("/health/ready")).json()["ready"] is True
    await nats_process.stop()
    async with asyncio.timeout(DEADLINE):
        while (unhealthy := await stand.client.get("/health")).status_code == 200:
            pass
    assert unhealthy.status_code == 503
    assert unhealthy.json()["checks"]["queue"] == "unhealthy"
    assert (await stand.client.get("/health/live")).json() == {"alive": True}
    assert (await stand.deploy(await stand.project())).status_code == 200, "recorded while the broker is away"
    await nats_process.start()


async def test_without_the_database_nothing_is_accepted_and_the_answer_says_when_to_return(stand):
    project_id = await stand.project()
    await stand.resources.pool.close()
    answer = await stand.deploy(project_id)
    assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0


async def test_errors_have_one_shape_and_a_request_id(stand):
    answer = await stand.client.get("/nowhere", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    body = answer.json()
    assert body.pop("timestamp")
    assert body.pop("message")
    assert (answer.status_code, body) == (404, {"success": False, "error": "NOT_FOUND", "requestId": "mine-1"})
    unusable = await stand.client.delete("/deploy", headers={"x-request-id": "no spaces"})
    assert unusable.status_code == 405
    assert unusable.headers["x-request-id"] != "no spaces"


async def test_defects_tell_nothing_about_the_inside(stand, monkeypatch):
    async def broken(self: object, project_id: str) -> None:
        raise asyncpg.UndefinedTableError("relation secret does not exist")

    monkeypatch.setattr("shared.adapters.postgres.projects.Projects.find", broken)
    answer = await stand.client.get("/projects/x")
    assert (answer.status_code, answer.json()["error"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text


async def test_browsers_may_call_from_configured_origins_and_localhost_only(stand):
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for origin in ("https://app.example", "http://localhost:5173"):
        answer = await stand.client.options("/deploy", headers={**preflight, "origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-max-age"] == "86400"
        assert answer.headers["access-control-allow-credentials"] == "true"
    for origin in ("https://evil.example", "http://localhost.evil.example", "https://app.example.evil"):
        answer = await stand.client.get("/", headers={"origin": origin})
        assert "access-control-allow-origin" not in answer.headers


async def test_the_queue_shows_each_actor_and_who_waits(stand):
    await stand.deployment()
    body = (await stand.client.get("/status/queue")).json()
    assert list(body["actors"]) == ["intake", *(step.name for step in STEPS)]
    assert [(row["organizationId"], row["waiting"]) for row in body["waiting"]] == [("acme", 1)]
    assert body["deadLetters"] == 0
    assert body["configuration"]["maxRetries"] == 3


async def test_the_documentation_needs_no_other_host(stand):
    page = (await stand.client.get("/docs")).text
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    document = (await stand.client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "/deploy/{deployment_id}/logs/stream" in document["paths"]
    assert document["components"]["schemas"]["DeployOrder"]["required"] == ["orgId", "projectId", "userId"]


async def test_every_operation_is_described_with_an_example_and_its_refusals(stand):
    document = (await stand.client.get("/openapi.json")).json()
    operations = {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    lacking = {name: lacks for name, operation in operations.items() if (lacks := what_is_missing(operation))}
    assert lacking == {}
    assert operations["GET /health"]["security"] == []
    assert {"400", "401", "403", "404", "503"} <= set(operations["GET /deploy/{deployment_id}/status"]["responses"])


def what_is_missing(operation: dict[str, Any]) -> list[str]:
    """Return what a reader of the document would miss of an operation."""
    missing = [name for name in ("summary", "description", "tags", "operationId") if not operation.get(name)]
    contents = [("body", operation["requestBody"]["content"])] if "requestBody" in operation else []
    contents += [(status, answer["content"]) for status, answer in operation["responses"].items()]
    missing += [
        f"example of {where} as {media_type}"
        for where, content in contents
        for media_type, media in content.items()
        if not {"example", "examples"} & media.keys()
    ]
    if not any(status >= "400" for status in operation["responses"]):
        missing.append("refusals")
    return missing


async def test_allow_names_what_a_path_has(stand):
    for answer in (await stand.client.request("TRACE", "/projects"), await stand.client.options("/projects")):
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert (await stand.client.options("/nowhere")).status_code == 404


async def test_what_no_database_could_store_or_no_type_holds_is_refused(stand):
    for path in ("/projects/a%00b", "/status/deployments?projectId=%00"):
        assert (await stand.client.get(path)).status_code == 400
    assert (await stand.client.post("/projects", json={"name": "a\0b"})).status_code == 400
    lax = await stand.client.post("/projects", json={"name": 5})
    assert lax.json()["details"]["fieldErrors"] == {"name": ["Expected `str`, got `int`"]}


@pytest.mark.parametrize("scope", ["read", "deploy", "admin"])
async def test_a_greater_scope_includes_reading(stand, scope):
    _, token = await Tokens(stand.resources.pool).create("t", [scope], "acme", "ada")
    assert (await stand.client.get("/projects", headers={"authorization": f"Bearer {token}"})).status_code == 200
