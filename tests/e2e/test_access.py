"""API keys and the audit log, over a real gateway, database and broker."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest

from shared.adapters.postgres.tokens import Tokens
from shared.times import iso_time
from tests.stand import DEADLINE, Stand, serving
from tests.waiting import until


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@asynccontextmanager
async def calling(stand: Stand, token: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stand.url, headers=bearer(token), timeout=DEADLINE) as client:
        yield client


@pytest.fixture
async def admin(stand: Stand) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an admin token of `acme`."""
    _, token = await Tokens(stand.resources.pool).create("admin", ["admin"], "acme", "ada")
    async with calling(stand, token) as client:
        yield client


@pytest.fixture
async def operator(stand: Stand) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an admin token of every organisation."""
    _, token = await Tokens(stand.resources.pool).create("operator", ["admin"], None, "root")
    async with calling(stand, token) as client:
        yield client


async def minted(client: httpx.AsyncClient, **order: Any) -> dict[str, Any]:
    answer = await client.post("/tokens", json={"name": "CI", "scopes": ["deploy"], **order})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def status_with(stand: Stand, token: str) -> int:
    return (await stand.client.get("/whoami", headers=bearer(token))).status_code


async def test_a_new_key_is_shown_once_and_never_in_the_list(stand, admin):
    expires = iso_time(time.time() + 3600)
    made = await minted(admin, expiresAt=expires)
    secret, token = made["secret"], made["token"]
    assert secret.startswith(token["prefix"])
    assert len(token["prefix"]) == 12
    assert (token["organizationId"], token["userId"], token["status"]) == ("acme", "ada", "active")
    assert (token["expiresAt"], token["lastUsedAt"], token["scopes"]) == (expires, None, ["deploy"])
    whoami = (await stand.client.get("/whoami", headers=bearer(secret))).json()
    assert whoami == {"tokenName": "CI", "organizationId": "acme", "userId": "ada", "scopes": ["deploy"]}
    listed = await admin.get("/tokens")
    assert listed.json()["tokens"][0] == token
    assert secret not in listed.text


async def test_a_key_is_no_wider_than_who_made_it(stand, admin, operator):
    async def refused(client: httpx.AsyncClient, **order: Any) -> int:
        return (await client.post("/tokens", json={"name": "x", "scopes": ["deploy"], **order})).status_code

    assert await refused(stand.client) == 403
    assert await refused(admin, orgId="other") == 403
    assert await refused(admin, allOrganizations=True) == 403
    assert await refused(operator) == 400
    assert await refused(admin, scopes=[]) == 400
    assert await refused(admin, scopes=["root"]) == 400
    assert await refused(admin, expiresAt=iso_time(time.time() - 1)) == 400
    assert await refused(admin, name="a\x00b") == 400
    assert (await minted(operator, allOrganizations=True))["token"]["organizationId"] is None
    assert (await minted(operator, orgId="other"))["token"]["organizationId"] == "other"
    assert [token["name"] for token in (await admin.get("/tokens")).json()["tokens"]] == ["admin", "test"]


async def test_a_revoked_key_is_refused_at_once_by_every_gateway(stand, admin):
    secret = (made := await minted(admin))["secret"]
    async with serving(stand.resources) as (_, url), httpx.AsyncClient(base_url=url, headers=bearer(secret)) as other:
        assert (await other.get("/whoami")).status_code == 200
        assert await status_with(stand, secret) == 200
        started = time.monotonic()
        revoked = await admin.delete(f"/tokens/{made['token']['id']}")
        assert (revoked.status_code, revoked.json()["token"]["status"]) == (200, "revoked")
        assert await status_with(stand, secret) == 401
        await until(lambda: _is_refused(other), DEADLINE)
        assert time.monotonic() - started < 4, "told by the broker, not by the end of what is remembered"
    again = (await admin.delete(f"/tokens/{made['token']['id']}")).json()
    assert again["token"]["revokedAt"] == revoked.json()["token"]["revokedAt"]
    assert made["token"]["id"] not in (await admin.get("/tokens")).text
    assert made["token"]["id"] in (await admin.get("/tokens?revoked=true")).text


@pytest.mark.parametrize("stream", ["events", "logs/stream"])
async def test_a_stream_ends_when_the_key_it_was_opened_with_is_revoked(stand, admin, monkeypatch, stream):
    monkeypatch.setattr("services.gateway.event_stream.RECHECK_SECONDS", 0.0)
    monkeypatch.setattr("services.gateway.feed.QUIET_SECONDS", 0.1)
    path = f"/deploy/{await stand.deployment()}/{stream}"
    made, kept = await minted(admin, scopes=["read"]), await minted(admin, scopes=["read"])
    async with (
        stand.client.stream("GET", path, headers=bearer(kept["secret"])) as other,
        stand.client.stream("GET", path, headers=bearer(made["secret"])) as answer,
        asyncio.timeout(DEADLINE),
    ):
        others = other.aiter_lines()
        assert ": keep-alive" in [line async for line in _until_alive(others)]
        await admin.delete(f"/tokens/{made['token']['id']}")
        seen = [line async for line in answer.aiter_lines()]
        assert "event: end" not in seen
        assert [line async for line in _until_alive(others)][-1] == ": keep-alive"


async def _until_alive(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if line == ": keep-alive":
            return


async def _is_refused(client: httpx.AsyncClient) -> bool:
    return (await client.get("/whoami")).status_code == 401


async def test_a_rotated_key_has_a_new_token_and_the_old_one_for_the_overlap(stand, admin):
    made = await minted(admin)
    path = f"/tokens/{made['token']['id']}/rotate"
    second = (await admin.post(path, json={"overlapSeconds": 3600})).json()
    assert second["token"]["previousUntil"] is not None
    assert [await status_with(stand, secret) for secret in (made["secret"], second["secret"])] == [200, 200]
    third = (await admin.post(path)).json()
    assert third["token"]["id"] == made["token"]["id"]
    secrets = [body["secret"] for body in (made, second, third)]
    assert [await status_with(stand, secret) for secret in secrets] == [401, 401, 200]
    assert third["token"]["previousUntil"] is None
    await admin.delete(f"/tokens/{made['token']['id']}")
    ended = await admin.post(path)
    assert (ended.status_code, ended.json()["error"]) == (409, "TOKEN_ENDED")


async def test_the_overlap_ends_by_itself(stand, admin):
    made = await minted(admin)
    await admin.post(f"/tokens/{made['token']['id']}/rotate", json={"overlapSeconds": 1})
    assert await status_with(stand, made["secret"]) == 200

    async def over() -> bool:
        return await status_with(stand, made["secret"]) == 401

    await until(over, DEADLINE)


async def test_without_admin_one_may_rotate_and_revoke_only_the_own_key(stand, admin):
    own, foreign = await minted(admin), await minted(admin)
    async with calling(stand, own["secret"]) as client:
        refused = await client.delete(f"/tokens/{foreign['token']['id']}")
        missing = await client.delete("/tokens/key_none")
        assert (refused.status_code, refused.json()["message"]) == (404, missing.json()["message"])
        rotated = (await client.post(f"/tokens/{own['token']['id']}/rotate")).json()
    async with calling(stand, rotated["secret"]) as client:
        assert (await client.delete(f"/tokens/{own['token']['id']}")).status_code == 200
        assert (await client.get("/whoami")).status_code == 401
    assert await status_with(stand, foreign["secret"]) == 200


async def test_the_last_use_is_written_behind_the_requests(stand, admin):
    async def used() -> str | None:
        [row] = [row for row in (await admin.get("/tokens")).json()["tokens"] if row["name"] == "CI"]
        value: str | None = row["lastUsedAt"]
        return value

    secret = (await minted(admin))["secret"]
    assert await status_with(stand, secret) == 200
    assert await used() is None
    await until(used, 30)


# Audit


async def entries(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/status/audit", params=query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["entries"]
    return rows


async def test_every_write_is_in_the_audit_log_with_who_what_and_which(stand, admin):
    project_id = await stand.project()
    deployment_id = (await stand.deploy(project_id)).json()["deploymentId"]
    await stand.client.post(f"/deploy/{deployment_id}/cancel", headers={"x-request-id": "mine"})
    await stand.client.get("/projects")
    await stand.client.post(f"/deploy?instanceId={deployment_id}")
    refused = await stand.client.post("/tokens", json={"name": "x", "scopes": ["admin"]})
    assert refused.status_code == 403
    await stand.client.post("/deploy", json={}, headers=bearer("zpd_wrong"))
    made = await minted(admin)
    seen = await until(lambda: _entries_when(admin, 5), DEADLINE)
    assert [(row["action"], row["status"]) for row in seen] == [
        ("POST /tokens", 201),
        ("POST /tokens", 403),
        ("POST /deploy/{deployment_id}/cancel", 200),
        ("POST /deploy", 200),
        ("POST /projects", 201),
    ]
    [token, _, cancelled, deployed, project] = seen
    assert token["subjects"] == {"tokenId": made["token"]["id"]}
    assert made["secret"] not in str(seen)
    assert deployed["subjects"].items() >= {"projectId": project_id, "deploymentId": deployment_id}.items()
    assert project["subjects"] == {"projectId": project_id}
    assert cancelled["subjects"] == {"deploymentId": deployment_id}
    assert (cancelled["requestId"], cancelled["userId"], cancelled["organizationId"]) == ("mine", "ada", "acme")
    assert cancelled["actor"].startswith("key_")
    assert cancelled["timestamp"].endswith("Z")


async def _entries_when(client: httpx.AsyncClient, number: int) -> list[dict[str, Any]] | None:
    rows = await entries(client)
    return rows if len(rows) >= number else None


async def test_the_audit_log_is_read_in_pages_and_by_actor_action_and_organisation(stand, admin, operator):
    project_id = await stand.project()
    await operator.post(f"/projects/{project_id}/source", json={"files": {}})
    await operator.post("/projects", json={"name": "theirs", "orgId": "other"})
    await until(lambda: _entries_when(operator, 3), DEADLINE)
    first = (await operator.get("/status/audit?limit=2")).json()
    rest = (await operator.get("/status/audit", params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert [row["action"] for row in first["entries"] + rest["entries"]] == [
        "POST /projects",
        "POST /projects/{project_id}/source",
        "POST /projects",
    ]
    assert "nextCursor" not in rest
    assert [row["organizationId"] for row in await entries(admin)] == ["acme", "acme"], "what an operator did here, too"
    assert [row["organizationId"] for row in await entries(operator, orgId="other")] == ["other"]
    assert len(await entries(operator, action="POST /projects/")) == 1
    root = (await entries(operator, orgId="other"))[0]["actor"]
    assert len(await entries(operator, actor=root)) == 2
    assert (await admin.get("/status/audit?orgId=other")).status_code == 403
    assert (await stand.client.get("/status/audit")).status_code == 403


async def test_the_audit_log_neither_fails_nor_slows_a_request_while_it_cannot_be_written(stand, admin, monkeypatch):
    real, away = stand.gateway.ports.audit.record, asyncio.Event()

    async def broken(entries: Any) -> None:
        if not away.is_set():
            raise asyncpg.CannotConnectNowError("the database starts")
        await real(entries)

    monkeypatch.setattr(stand.gateway.ports.audit, "record", broken)
    for number in range(20):
        await stand.project(f"site {number}")
    assert await entries(admin) == []
    away.set()
    rows = await until(lambda: _entries_when(admin, 20), DEADLINE)
    assert len({row["id"] for row in rows}) == 20


async def test_what_was_noted_is_written_when_the_gateway_stops(stand, admin):
    async with serving(stand.resources) as (_, url), httpx.AsyncClient(base_url=url, headers=admin.headers) as client:
        await client.post("/projects", json={"name": "last"})
    assert [row["action"] for row in await entries(admin)] == ["POST /projects"]
