"""People: JWTs of the platform's identity provider, and the platform's session cookie, over real HTTP."""

import base64
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from services.gateway.access import jwks
from shared.resources import Resources, open_resources
from shared.settings import Settings
from tests.identity_platform import AUDIENCE, ISSUER, Platform, new_key, running_platform
from tests.stand import DEADLINE, serving
from tests.waiting import until

PAGE = {"origin": "https://app.example"}


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async with running_platform() as platform:
        yield platform


@pytest.fixture
async def resources(
    platform: Platform, nats_server: str, database_url: str, tmp_path: Path
) -> AsyncIterator[Resources]:
    settings = Settings(
        nats_url=nats_server,
        postgres_url=database_url,
        object_store_url=f"file://{tmp_path}/objects",
        environment="production",
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
        jwks_url=f"{platform.url}/jwks",
        jwt_organization_claim="org.id",
        session_url=f"{platform.url}/session",
        session_cookie="sid",
        session_kept_seconds=0.3,
    )
    async with open_resources(settings, "test") as resources:
        yield resources


@pytest.fixture
async def client(resources: Resources) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(resources) as (_, url), httpx.AsyncClient(base_url=url, timeout=DEADLINE) as client:
        yield client


async def whoami(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.get("/whoami", headers={"authorization": f"Bearer {token}"})


async def test_a_token_of_the_identity_provider_acts_for_the_user_organisation_and_scopes_it_claims(client, platform):
    answer = await whoami(client, platform.token())
    assert answer.json() == {"tokenName": "ada", "organizationId": "acme", "userId": "ada", "scopes": ["deploy"]}
    assert (await whoami(client, platform.token(aud=["other", AUDIENCE]))).status_code == 200
    assert (await whoami(client, platform.token(scope=["read", "root"]))).json()["scopes"] == ["read"]
    assert (await whoami(client, platform.token(exp=int(time.time()) - 5))).status_code == 200, "clocks differ a little"
    assert platform.fetched == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"exp": None}, {"exp": "soon"},
        {"sub": None}, {"sub": ""}, {"sub": {"id": 1}},
    ],
    ids=str,
)  # fmt: skip
async def test_a_token_with_wrong_claims_is_refused(client, platform, claims):
    assert (await whoami(client, platform.token(**claims))).status_code == 401


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -3600), ("nbf", 3600)])
async def test_a_token_is_refused_before_and_after_its_time(client, platform, claim, seconds):
    assert (await whoami(client, platform.token(**{claim: int(time.time()) + seconds}))).status_code == 401


@pytest.mark.parametrize("org", [None, {"id": None}, {"id": ""}, {"id": ["acme"]}, "acme", {"id": "a\x00b"}])
async def test_a_token_without_an_organisation_never_acts_for_every_one(client, platform, org):
    answer = await whoami(client, platform.token(org=org))
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")


async def test_without_a_scope_nothing_may_be_done(client, platform):
    for scope in (None, "", "openid", 7, {"deploy": True}):
        assert (await whoami(client, platform.token(scope=scope))).status_code == 403


def by_hand(token: str, header: dict[str, str], secret: bytes | None = None) -> str:
    """The token with another header, and no signature or one by a shared secret."""
    signed = f"{encoded(msgspec.json.encode(header))}.{token.split('.')[1]}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256')) if secret else ''}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def test_only_signatures_of_published_public_keys_count(client, platform):
    public = platform.keys[0].as_pem(private=False)
    forged = [
        by_hand(platform.token(), {"alg": "HS256", "kid": "k1"}, public),
        by_hand(platform.token(), {"alg": "none", "kid": "k1"}),
        platform.token(new_key("RSA", "k1")),
        platform.token(new_key("EC", "k1"), "ES256"),
        platform.token()[:-4] + "AAAA",
        platform.token().rpartition(".")[0] + ".",
        "e30.e30.e30", "....", "a.b", "\u00e9.\u00e9.\u00e9",
    ]  # fmt: skip
    for token in forged:
        answer = await client.get("/whoami", headers={"authorization": f"Bearer {token}".encode("latin-1")})
        assert answer.status_code == 401, token
    platform.keys.append(shared := new_key("oct", "shared"))
    assert (await whoami(client, platform.token(shared, "HS256"))).status_code == 401


@pytest.mark.parametrize(("kind", "alg"), [("EC", "ES256"), ("OKP", "EdDSA")])
async def test_keys_of_other_kinds_are_understood(client, platform, kind, alg):
    platform.keys = [new_key(kind, "other")]
    assert (await whoami(client, platform.token(alg=alg))).status_code == 200


async def test_a_new_key_is_fetched_when_it_is_first_met_and_not_with_every_unknown_one(client, platform, monkeypatch):
    monkeypatch.setattr(jwks, "_AGAIN_SECONDS", 0.5)
    old = platform.token()
    assert (await whoami(client, old)).status_code == 200
    platform.keys = [new_key("RSA", "k2")]
    await until(lambda: _works(client, platform.token(jti=str(time.monotonic()))), DEADLINE)
    assert (await whoami(client, platform.token(platform.keys[0], sub="eve"))).status_code == 200
    fetched = platform.fetched
    for number in range(20):
        await whoami(client, platform.token(platform.keys[0], header={"alg": "RS256", "kid": f"x{number}"}))
    assert platform.fetched <= fetched + 2


async def _works(client: httpx.AsyncClient, token: str) -> bool:
    return (await whoami(client, token)).status_code == 200


async def test_a_provider_that_is_away_is_no_refusal_and_keys_that_are_known_go_on(client, platform, monkeypatch):
    platform.broken = True
    answer = await whoami(client, platform.token())
    assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
    platform.broken = False
    monkeypatch.setattr(jwks, "_AGAIN_SECONDS", 0.0)
    assert (await whoami(client, platform.token())).status_code == 200
    platform.broken = True
    assert (await whoami(client, platform.token(sub="eve"))).status_code == 200


# The session cookie


def session(**changes: Any) -> dict[str, Any]:
    return {"user": {"id": "ada"}, "session": {"activeOrganizationId": "acme", **changes}}


async def test_the_platforms_pages_call_with_its_session_cookie(client, platform):
    platform.sessions["s%2B1.sig=="] = session()
    cookie = {"cookie": "theme=dark; sid=s%2B1.sig==; other=1"}
    for _ in range(3):
        answer = await client.get("/whoami", headers=cookie)
        assert answer.json() == {"tokenName": "ada", "organizationId": "acme", "userId": "ada", "scopes": ["deploy"]}
    assert platform.cookies == ["sid=s%2B1.sig=="], "asked once, with this cookie as it came and no other"
    made = await client.post("/projects", json={"name": "Shop"}, headers={**cookie, **PAGE})
    assert made.status_code == 201
    platform.sessions["second"] = {**session(), "user": {"id": "eve"}}
    assert (await client.get("/whoami", headers={"cookie": "sid=second"})).json()["userId"] == "eve"
    assert platform.cookies[-1] == "sid=second", "no cookie of an answer is kept"


@pytest.mark.parametrize(
    "origin", [None, "https://evil.example", "null", "", "http://localhost:5173", "https://app.example.evil"]
)
async def test_a_page_of_another_origin_changes_nothing(client, platform, resources, origin):
    platform.sessions["mine"] = session()
    headers = {"cookie": "sid=mine", **({"origin": origin} if origin is not None else {})}
    answer = await client.post("/projects", json={"name": "Shop"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    assert await resources.pool.fetchval("select count(*) from project") == 0
    assert (await client.get("/whoami", headers=headers)).status_code == 200


async def test_a_session_that_ended_is_forgotten_soon_and_one_without_an_organisation_may_nothing(client, platform):
    headers = {"cookie": "sid=mine"}
    assert (await client.get("/whoami", headers=headers)).status_code == 401
    platform.sessions["none"] = session(activeOrganizationId=None)
    assert (await client.get("/whoami", headers={"cookie": "sid=none"})).status_code == 403
    platform.sessions["mine"] = session()
    await until(lambda: _answers(client, headers, 200), DEADLINE)
    del platform.sessions["mine"]
    await until(lambda: _answers(client, headers, 401), DEADLINE)
    platform.broken = True
    await until(lambda: _answers(client, headers, 503), DEADLINE)


async def _answers(client: httpx.AsyncClient, headers: dict[str, str], status: int) -> bool:
    return (await client.get("/whoami", headers=headers)).status_code == status


async def test_a_bearer_token_that_does_not_hold_is_not_helped_by_a_cookie(client, platform):
    platform.sessions["mine"] = session()
    answer = await client.get("/whoami", headers={"cookie": "sid=mine", "authorization": "Bearer zpd_wrong"})
    assert answer.status_code == 401
    assert platform.cookies == []


async def test_who_acted_is_in_the_audit_log_by_how_they_were_recognised(client, platform, resources):
    platform.sessions["mine"] = session()
    await client.post("/projects", json={"name": "A"}, headers={"cookie": "sid=mine", **PAGE})
    await client.post("/projects", json={"name": "B"}, headers={"authorization": f"Bearer {platform.token()}"})

    async def actors() -> list[str] | None:
        rows = await resources.pool.fetch("select actor from audit order by id")
        return [row["actor"] for row in rows] if len(rows) == 2 else None

    assert await until(actors, DEADLINE) == ["session:ada", "jwt:ada"]
