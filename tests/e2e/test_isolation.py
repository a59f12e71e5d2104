"""Every endpoint of the route table, tried by those who may not: strangers, and with tokens that don't hold."""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet

from shared.adapters.postgres.tokens import Tokens
from shared.resources import Resources, open_resources
from shared.settings import Settings
from tests.foreign import ATTACKER, VICTIM, Endpoint, Owned, own_everything, route_table
from tests.stand import DEADLINE, serving

CLOSED = [endpoint for endpoint in route_table() if endpoint.rule != "public"]
_MALFORMED = (
    "Bearer",
    "Basic enBk",
    "Bearer zpd_wrong",
    "Bearer a.b.c",
    "Bearer \xff",
    "zpd_x",
    "Bearer " + "x" * 9000,
)
_LESSER = {"read": [], "deploy": ["read"], "admin": ["deploy"]}
_VARYING = re.compile(r'"(timestamp|requestId)":"[^"]*"')


@dataclass
class Scene:
    """A victim who owns one of everything, a stranger, and what may not change."""

    resources: Resources
    client: httpx.AsyncClient
    its: Owned
    stranger: dict[str, str]
    own_project: str

    async def call(
        self,
        endpoint: Endpoint,
        headers: dict[str, str],
        *,
        missing: bool = False,
        own: dict[str, str] | None = None,
        **query: Any,
    ) -> httpx.Response:
        path = endpoint.filled(self.its, missing=missing, **(own or {}))
        body = endpoint.content(self.its)
        return await self.client.request(endpoint.method, path, headers=headers, params=query or None, **body)

    async def facts(self) -> dict[str, Any]:
        """Every row of the database but the stranger's own, and what each stream holds."""
        pool, jetstream = self.resources.pool, self.resources.bus.jetstream
        tables = await pool.fetch(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'audit'"
        )
        rows = {
            name: await pool.fetchval(
                f"select array_agg(t order by t) from (select (to_jsonb(x) - 'last_used_at')::text as t from {name} x"
                " where coalesce(to_jsonb(x)->>'organization_id', '') <> $1) s",
                ATTACKER,
            )
            for (name,) in tables
        }
        streams = {
            info.config.name: (info.state.messages, info.state.last_seq) for info in await jetstream.streams_info()
        }
        return rows | streams

    async def token(self, scopes: list[str], organization_id: str = VICTIM, **more: Any) -> dict[str, str]:
        _, token = await Tokens(self.resources.pool).create("t", scopes, organization_id, "u", **more)
        return {"authorization": f"Bearer {token}"}


@pytest.fixture
async def resources(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Resources]:
    settings = Settings(
        nats_url=nats_server,
        postgres_url=database_url,
        object_store_url=f"file://{tmp_path}/objects",
        encryption_keys=Fernet.generate_key().decode(),
        webhook_allowed_networks="127.0.0.0/8",
    )
    async with open_resources(settings, "test") as resources:
        yield resources


@pytest.fixture
async def scene(resources: Resources) -> AsyncIterator[Scene]:
    tokens = Tokens(resources.pool)
    _, victim = await tokens.create("victim", ["admin"], VICTIM, "vera")
    _, stranger = await tokens.create("stranger", ["admin"], ATTACKER, "eve")
    async with serving(resources) as (_, url), httpx.AsyncClient(base_url=url, timeout=DEADLINE) as client:
        headers = {"authorization": f"Bearer {stranger}"}
        own = await client.post("/projects", json={"name": "older"}, headers=headers)
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {victim}"}) as owner:
            its = await own_everything(owner, resources)
        yield Scene(resources, client, its, headers, own.json()["project"]["id"])


def shown(answer: httpx.Response, *asked: object) -> tuple[int, str]:
    """What an answer says, but for times, the request's id and what was asked for."""
    text = _VARYING.sub("", answer.text)
    for value in asked:
        text = text.replace(str(value), "ID")
    return answer.status_code, text


async def test_no_route_answers_without_a_valid_token(scene):
    revoked_id, revoked = await Tokens(scene.resources.pool).create("r", ["admin"], VICTIM, "u")
    await Tokens(scene.resources.pool).revoke(revoked_id)
    expired = await scene.token(["admin"], expires_at=time.time() - 1)
    attempts = [{"authorization": value.encode("latin-1")} for value in _MALFORMED]
    attempts += [{}, {"authorization": f"Bearer {revoked}"}, expired]
    before = await scene.facts()
    wrong = [
        (endpoint.name, headers, answer.status_code)
        for endpoint in CLOSED
        for headers in attempts
        if (answer := await scene.call(endpoint, headers)).status_code != 401
        or answer.json()["error"] != "Unauthorized"
    ]
    assert wrong == []
    assert await scene.facts() == before


async def test_no_route_works_with_a_lesser_scope(scene):
    lesser = {rule: await scene.token(scopes) for rule, scopes in _LESSER.items()}
    before = await scene.facts()
    wrong = [
        (endpoint.name, answer.status_code)
        for endpoint in CLOSED
        if (answer := await scene.call(endpoint, lesser[endpoint.rule])).status_code != 403
    ]
    assert wrong == []
    assert await scene.facts() == before


async def test_what_a_path_names_of_another_organisation_answers_exactly_like_what_is_missing(scene):
    before = await scene.facts()
    for endpoint in (endpoint for endpoint in CLOSED if endpoint.names_owned):
        foreign = await scene.call(endpoint, scene.stranger)
        missing = await scene.call(endpoint, scene.stranger, missing=True)
        asked, unfound = endpoint.values(scene.its), endpoint.values(scene.its, missing=True)
        assert shown(foreign, *asked.values()) == shown(missing, *unfound.values()), endpoint.name
        assert foreign.status_code == 404, f"{endpoint.name}: {foreign.text}"
        assert await scene.facts() == before, endpoint.name


async def test_what_another_organisation_owns_is_not_reached_through_a_project_of_ones_own(scene):
    own, before = {"project_id": scene.own_project}, await scene.facts()
    for endpoint in (endpoint for endpoint in CLOSED if endpoint.owned_in_project):
        foreign = await scene.call(endpoint, scene.stranger, own=own)
        missing = await scene.call(endpoint, scene.stranger, own=own, missing=True)
        asked, unfound = endpoint.values(scene.its), endpoint.values(scene.its, missing=True)
        assert shown(foreign, *asked.values()) == shown(missing, *unfound.values()), endpoint.name
        assert foreign.status_code == 404, f"{endpoint.name}: {foreign.text}"
    assert await scene.facts() == before


async def test_what_a_query_names_of_another_organisation_answers_exactly_like_what_is_missing(scene):
    for endpoint in (endpoint for endpoint in CLOSED if endpoint.method == "GET" and not endpoint.names_owned):
        for name, parameter in endpoint.queries.items():
            foreign = parameter.foreign(scene.its)
            asked = await scene.call(endpoint, scene.stranger, **{name: foreign})
            unfound = await scene.call(endpoint, scene.stranger, **{name: parameter.missing})
            assert shown(asked, foreign) == shown(unfound, parameter.missing), f"{endpoint.name} {name}"
            assert not any(mark in asked.text.replace(str(foreign), "") for mark in scene.its.marks), endpoint.name


async def test_lists_leave_out_what_another_organisation_owns(scene):
    for endpoint in (endpoint for endpoint in CLOSED if endpoint.method == "GET" and not endpoint.names_owned):
        answer = await scene.call(endpoint, scene.stranger)
        assert not any(mark in answer.text for mark in scene.its.marks), f"{endpoint.name}: {answer.text}"


async def test_writes_in_the_name_of_another_organisation_change_nothing(scene):
    before = await scene.facts()
    for endpoint in (endpoint for endpoint in CLOSED if endpoint.method != "GET" and not endpoint.names_owned):
        answer = await scene.call(endpoint, scene.stranger, orgId=VICTIM)
        if VICTIM in str(endpoint.content(scene.its)):
            assert answer.status_code == 403, f"{endpoint.name}: {answer.text}"
        assert not any(mark in answer.text for mark in scene.its.marks), f"{endpoint.name}: {answer.text}"
        assert await scene.facts() == before, endpoint.name


async def test_the_owner_reads_what_strangers_cannot(scene):
    """Otherwise that strangers cannot would prove nothing."""
    admin = await scene.token(["admin"])
    for endpoint in (endpoint for endpoint in CLOSED if endpoint.method == "GET" and endpoint.names_owned):
        async with scene.client.stream("GET", endpoint.filled(scene.its), headers=admin) as answer:
            assert answer.status_code == 200, endpoint.name
