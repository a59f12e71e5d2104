"""Custom domains of projects that are served on Cloudflare: asked for there, followed, and forgotten."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared.adapters.postgres.custom_hostnames import KnownHostnames
from shared.domains import cloudflare
from shared.domains.cloudflare import CloudflareDomains
from tests.domain_world import HOST, Domain, World, domain_world
from tests.fakes.cloudflare import FakeCloudflare, fake_cloudflare
from tests.waiting import until

PENDING = ("pending", "pending_validation")
ASK = "^POST .*/custom_hostnames$"


@dataclass
class There:
    """Domains in front of a fake of Cloudflare."""

    world: World
    fake: FakeCloudflare

    async def project(self, target: str = "cloudflare") -> str:
        """Make a project that is live on a target."""
        self.world.edge.target = target
        return await self.world.project()

    async def proved(self, project_id: str) -> Domain:
        """Add the domain and prove it."""
        domain = await self.world.add(project_id)
        self.world.prove(domain)
        return domain

    async def sees(self, project_id: str, **wanted: Any) -> Domain:
        """Have the domain looked at until it is like this."""

        async def is_so() -> Domain | None:
            domain = await self.world.verify(project_id)
            there = domain["cloudflare"] or {}
            seen = {"domain": domain["state"], "state": there.get("state"), "records": len(there.get("records", ()))}
            return domain if wanted.items() <= seen.items() else None

        found: Domain = await until(is_so)
        return found

    async def says(self, project_id: str, words: str) -> None:
        """Wait until the domain's fault has these words."""

        async def does() -> bool:
            domain = (await self.world.stand.client.get(f"/projects/{project_id}/domains/{HOST}")).json()
            return words in (domain["fault"] or "")

        await until(does)

    async def has_names(self, *names: str) -> None:
        """Wait until Cloudflare has these host names."""

        async def has() -> bool:
            return sorted(known["hostname"] for known in self.fake.hostnames.values()) == sorted(names)

        await until(has)

    def look_again(self) -> CloudflareDomains:
        """What follows the domains, in another process."""
        return CloudflareDomains(self.world.stand.resources.settings)

    async def known(self) -> list[str]:
        rows = await self.world.stand.resources.pool.fetch("select hostname from custom_hostname")
        return [row["hostname"] for row in rows]


@pytest_asyncio.fixture
async def there(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[There]:
    async with (
        fake_cloudflare() as fake,
        domain_world(nats_server, database_url, tmp_path, **fake.settings) as world,
    ):
        yield There(world, fake)


async def test_a_proved_domain_is_asked_for_and_followed_until_it_is_active(there: There) -> None:
    there.fake.hostname_path = [PENDING, PENDING, ("active", "pending_deployment"), ("active", "active")]
    project_id = await there.project()
    domain = await there.world.add(project_id)
    assert domain["cloudflare"] is None
    assert await there.known() == []
    there.world.prove(domain)
    await there.says(project_id, f"waits for the TXT record at _cf-custom-hostname.{HOST} and _acme-challenge.{HOST}")
    waiting = await there.sees(project_id, domain="verified", state="pending")
    assert [record["name"] for record in waiting["cloudflare"]["records"]] == [
        f"_cf-custom-hostname.{HOST}",
        f"_acme-challenge.{HOST}",
    ]
    assert waiting["nextTryAt"]
    await there.sees(project_id, domain="verified", state="verified", records=0)
    await there.says(project_id, "Cloudflare makes the certificate (pending_deployment)")
    active = await there.sees(project_id, domain="active", state="active")
    assert (active["fault"], active["url"]) == (None, f"http://{HOST}:{there.fake.port}/")
    assert there.fake.count(ASK) == 1


async def test_a_project_shows_the_address_where_it_is_served(there: There) -> None:
    client, settings = there.world.stand.client, there.world.stand.resources.settings
    for target, pattern in (("cloudflare", settings.cloudflare_url), ("local", settings.edge_url)):
        project_id = await there.project(target)
        shown = (await client.get(f"/projects/{project_id}")).json()["project"]
        assert shown["url"] == pattern.format(site=shown["workerName"])
        assert shown in (await client.get("/projects")).json()["projects"]
        body = {"name": "next", "settings": {"target": target}}
        made = (await client.post("/projects", json=body)).json()["project"]
        assert made["url"] == pattern.format(site=made["workerName"])


async def test_a_domain_of_a_project_at_the_edge_is_none_of_cloudflares(there: There) -> None:
    project_id = await there.project("local")
    await there.proved(project_id)
    there.world.lead_here()
    active = await there.sees(project_id, domain="active")
    assert active["cloudflare"] is None
    assert there.fake.count("custom_hostnames") == 0


@pytest.mark.parametrize("going", ["domain", "project"])
async def test_a_domain_that_is_removed_is_forgotten_by_cloudflare(there: There, going: str) -> None:
    project_id = await there.project()
    await there.proved(project_id)
    await there.has_names(HOST)
    path = f"/projects/{project_id}" + (f"/domains/{HOST}" if going == "domain" else "")
    assert (await there.world.stand.client.delete(path)).status_code == 200
    there.fake.fail("^DELETE .*/custom_hostnames/", 503, times=2)
    await there.has_names()

    async def is_forgotten() -> bool:
        return await there.known() == []

    await until(is_forgotten)


async def test_a_domain_follows_its_project_from_one_place_to_the_other(there: There) -> None:
    project_id = await there.project("local")
    await there.proved(project_id)
    there.world.lead_here()
    await there.sees(project_id, domain="active")
    site = await there.world.site(project_id)
    there.world.edge.target = "cloudflare"
    await there.world.edge.publish(site, {"index.html": b"there"})
    await there.has_names(HOST)
    there.world.edge.target = "local"
    await there.world.edge.publish(site, {"index.html": b"here"})
    await there.has_names()
    await there.sees(project_id, domain="active", state=None)


async def test_an_answer_that_was_lost_makes_no_second_name_and_leaves_none_behind(there: There) -> None:
    there.fake.fail(ASK, 502, after=True, times=9)
    project_id = await there.project()
    await there.proved(project_id)
    await there.has_names(HOST)
    assert (await there.world.stand.client.delete(f"/projects/{project_id}/domains/{HOST}")).status_code == 200
    await there.has_names()


async def test_what_two_processes_do_at_once_is_done_once(there: There) -> None:
    project_id = await there.project()
    await there.proved(project_id)
    await there.world.reaches(project_id, "verified")
    await asyncio.gather(*(there.look_again().follow(HOST) for _ in range(5)))
    await there.has_names(HOST)
    assert there.fake.count(ASK) == 1


async def test_nobody_waits_long_for_a_name(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudflare, "PATIENCE_SECONDS", 0.5)
    settings = there.world.stand.resources.settings
    async with KnownHostnames(settings.postgres_url).holding(HOST):
        assert "does not answer" in await there.look_again().follow(HOST)
    assert "no longer" in await there.look_again().follow(HOST)


async def test_a_name_that_is_gone_or_has_failed_is_asked_for_anew(there: There) -> None:
    there.fake.hostname_path = [("blocked", "pending_validation")]
    project_id = await there.project()
    await there.proved(project_id)
    await there.says(project_id, "Cloudflare does not serve it (blocked, certificate pending_validation)")
    await there.sees(project_id, domain="verified", state="failed")
    there.fake.hostname_path = [("active", "active")]
    await there.sees(project_id, domain="active", state="active")
    assert there.fake.count(ASK) == 2
    there.fake.hostnames.clear()
    assert await there.look_again().follow(HOST) == ""
    assert there.fake.count(ASK) == 3


async def test_a_refusal_is_said_in_words_and_tried_again(there: There) -> None:
    there.fake.fail(ASK, 400, code=1402, message="Invalid custom hostname", times=1)
    project_id = await there.project()
    await there.proved(project_id)
    await there.says(project_id, "Invalid custom hostname [code: 1402]; Cloudflare is asked again")
    await there.sees(project_id, state="verified")


async def test_without_a_zone_it_is_said_what_the_operator_has_to_set(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with fake_cloudflare() as fake:
        settings = {**fake.settings, "cloudflare_zone_id": ""}
        async with domain_world(nats_server, database_url, tmp_path, **settings) as world:
            there = There(world, fake)
            project_id = await there.project()
            await there.proved(project_id)
            await there.says(project_id, "CLOUDFLARE_ZONE_ID is not set")
            assert fake.count("custom_hostnames") == 0


async def test_the_token_is_in_no_answer(there: There) -> None:
    there.fake.fail(ASK, 403, message="no permission", times=99)
    project_id = await there.project()
    await there.proved(project_id)
    answer: httpx.Response = await there.world.stand.client.post(f"/projects/{project_id}/domains/{HOST}/verify")
    assert there.fake.settings["cloudflare_api_token"] not in answer.text
