"""Custom domains: asked for over HTTP, proved by a real name server, served by a real edge."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.adapters.postgres.domains import Domains
from shared.adapters.postgres.tokens import Tokens
from shared.contracts.errors import ZepidError
from shared.domains.checks import Checks
from shared.domains.states import GIVEN_UP_SECONDS
from shared.settings import Settings
from tests.domain_world import HOST, World, domain_world
from tests.waiting import until


@pytest_asyncio.fixture
async def world(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with domain_world(nats_server, database_url, tmp_path) as world:
        yield world


async def test_a_domain_is_proved_then_served_then_seen(world: World) -> None:
    project_id = await world.project()
    domain = await world.add(project_id, "SHOP.example.com.")
    assert (domain["hostname"], domain["state"]) == (HOST, "pending")
    assert domain["verification"]["name"] == f"_zepid-challenge.{HOST}"
    assert domain["routing"]["value"] == f"{await world.site(project_id)}.localhost"
    assert (await world.ask_edge("/", HOST)).status_code == 404
    assert (await world.ask_edge(f"/_edge/ask?domain={HOST}", "edge")).status_code == 404

    world.prove(domain)
    verified = await world.reaches(project_id, "verified")
    assert verified["verifiedAt"]
    assert (await world.ask_edge("/", HOST)).text == "<!doctype html><title>shop</title>"
    assert (await world.ask_edge(f"/_edge/ask?domain={HOST}", "edge")).status_code == 200
    missing = await world.verify(project_id)
    assert missing["state"] == "verified"

    world.lead_here()

    async def is_active() -> bool:
        return (await world.verify(project_id))["state"] == "active"

    await until(is_active)
    row = await world.stand.resources.pool.fetchrow("select * from project where id = $1", project_id)
    assert (row["custom_domain"], row["custom_domain_status"]) == (HOST, "active")
    assert domain["verification"]["value"] in row["ownership_verification"]
    assert row["custom_domain_verified_at"] is not None


async def test_a_switch_and_a_removal_are_seen_at_the_domain_at_once(world: World) -> None:
    project_id = await world.project()
    world.prove(await world.add(project_id))
    await world.reaches(project_id, "verified")
    assert "shop" in (await world.ask_edge("/", HOST)).text
    await world.edge.publish(await world.site(project_id), {"index.html": b"new"})

    async def shows_new() -> bool:
        return (await world.ask_edge("/", HOST)).content == b"new"

    await until(shows_new, 1.0)
    assert (await world.stand.client.delete(f"/projects/{project_id}/domains/{HOST}")).json()["hostname"] == HOST

    async def is_gone() -> bool:
        return (await world.ask_edge("/", HOST)).status_code == 404

    await until(is_gone, 1.0)
    row = await world.stand.resources.pool.fetchrow("select * from project where id = $1", project_id)
    assert (row["custom_domain"], row["custom_domain_status"], row["ownership_verification"]) == (None, None, None)


async def test_faults_are_said_in_words(world: World) -> None:
    project_id = await world.project()
    domain = await world.add(project_id)
    name = f"_zepid-challenge.{HOST}"

    async def fault() -> str:
        return str((await world.verify(project_id))["fault"])

    async def says(words: str) -> bool:
        return words in await fault()

    await until(lambda: says(f"There is no TXT record at {name} yet"))
    world.dns.records[name, "TXT"] = ['"something else"']
    await until(lambda: says("does not hold zepid-"))
    world.dns.away = True
    await until(lambda: says("The name servers do not answer"), 60)
    world.dns.away = False
    world.prove(domain)
    await until(lambda: says("has no address yet"))
    world.dns.records[HOST, "A"] = ["127.0.0.9"]
    await until(lambda: says("127.0.0.9 does not answer"))


async def test_of_two_projects_the_one_that_proves_it_has_the_domain(world: World) -> None:
    squatter, owner = await world.project(), await world.project()
    squatted = await world.add(squatter)
    world.prove(await world.add(owner))
    await world.reaches(owner, "verified")
    late = await world.stand.client.post(f"/projects/{await world.project()}/domains", json={"hostname": HOST})
    assert (late.status_code, late.json()["error"]) == (409, "DOMAIN_TAKEN")
    world.prove(squatted)
    failed = await world.reaches(squatter, "failed")
    assert failed["fault"] == "Another project has proved that it owns this domain"
    await world.stand.client.delete(f"/projects/{owner}/domains/{HOST}")
    assert (await world.verify(squatter))["state"] == "verified"


async def test_a_claim_that_was_given_up_is_tried_again_when_asked(world: World) -> None:
    project_id = await world.project()
    domain = await world.add(project_id)
    await world.stand.resources.pool.execute(
        "update domain set asked_at = asked_at - make_interval(secs => $1), next_try_at = now()", GIVEN_UP_SECONDS
    )
    failed = await world.reaches(project_id, "failed")
    assert failed["fault"].startswith("Given up after 7 days. There is no TXT record")
    assert failed["nextTryAt"] is None
    world.prove(domain)
    assert (await world.verify(project_id))["state"] == "verified"


async def test_a_domain_cannot_show_another_site_by_the_path_form(world: World) -> None:
    project_id, other = await world.project(), await world.project(b"other")
    world.prove(await world.add(project_id))
    await world.reaches(project_id, "verified")
    answer = await world.ask_edge(f"/_sites/{await world.site(other)}/", HOST)
    assert answer.content != b"other"
    assert (await world.ask_edge("/_edge/site", HOST)).text == await world.site(project_id)
    assert (await world.ask_edge("/_edge/site", "nobody.example.com")).status_code == 404


async def test_unusable_names_and_foreign_projects_are_refused(world: World) -> None:
    project_id = await world.project()
    for hostname in ("shop", "a.localhost", "127.0.0.1", "*.example.com", ""):
        refused = await world.stand.client.post(f"/projects/{project_id}/domains", json={"hostname": hostname})
        assert (refused.status_code, refused.json()["error"]) == (400, "DOMAIN_INVALID")
    await world.add(project_id)
    _, token = await Tokens(world.stand.resources.pool).create("other", ["admin"], "other", "eve")
    foreign = {"authorization": f"Bearer {token}"}
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("GET", f"/{HOST}"),
        ("POST", f"/{HOST}/verify"),
        ("DELETE", f"/{HOST}"),
    ):
        body = {"json": {"hostname": HOST}} if (method, path) == ("POST", "") else {}
        answers = [
            await world.stand.client.request(method, f"/projects/{id}/domains{path}", headers=foreign, **body)
            for id in (project_id, "none")
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json()["message"] == answers[1].json()["message"]
    assert (await world.stand.client.get(f"/projects/{project_id}/domains/other.example.com")).status_code == 404


async def test_a_private_address_is_not_asked_outside_development(world: World) -> None:
    project_id = await world.project()
    settings = world.stand.resources.settings
    strict = Settings(edge_url=settings.edge_url, dns_servers=settings.dns_servers, environment="production")
    domains = Domains(world.stand.resources.pool)
    world.prove(await world.add(project_id))
    await world.reaches(project_id, "verified")
    world.dns.records[HOST, "A"] = ["127.0.0.1", "169.254.169.254"]
    becomes = await Checks(strict).check(await domains.find(HOST, project_id))
    assert becomes.state == "verified"
    assert "127.0.0.1 is a private address" in becomes.fault
    assert "169.254.169.254 is a private address" in becomes.fault


async def test_a_project_has_at_most_fifty_domains(world: World) -> None:
    project_id = await world.stand.project()
    domains = Domains(world.stand.resources.pool)
    for number in range(50):
        await domains.claim(f"d{number}.example.com", project_id, "acme")
    again = await domains.claim("d7.example.com", project_id, "acme")
    assert again.hostname == "d7.example.com"
    with pytest.raises(ZepidError, match="may have 50 domains"):
        await domains.claim("one-more.example.com", project_id, "acme")


async def test_a_deployment_can_ask_for_its_projects_domain(world: World) -> None:
    project_id, other = await world.stand.project(), await world.project()
    accepted = await world.stand.deploy(project_id, customDomain="Shop.Example.com")
    assert accepted.status_code == 200, accepted.text
    asked = (await world.stand.client.get(f"/projects/{project_id}/domains")).json()["domains"]
    assert [(domain["hostname"], domain["state"]) for domain in asked] == [(HOST, "pending")]
    world.prove(asked[0])
    await world.reaches(project_id, "verified")
    for unusable in (HOST, "localhost", "a.localhost"):
        refused = await world.stand.deploy(other, customDomain=unusable)
        assert (refused.status_code, refused.json()["error"]) == (400, "Validation Error")
        assert "customDomain" in refused.json()["details"]["fieldErrors"]
    assert (await world.stand.deploy("none", customDomain="b.example.com")).status_code == 404
    assert (await world.stand.deploy(other, customDomain="")).status_code == 200
