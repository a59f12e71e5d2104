"""Deploy, cleanup and rollback with Cloudflare as the target: a real database, a real edge, a fake of the API."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import msgspec
import pytest
import pytest_asyncio

from services.steps.cleanup.handler import handle as cleanup
from services.steps.deploy.handler import handle as deploy
from shared.adapters.postgres.publications import Publications
from shared.adapters.postgres.releases import Releases
from shared.adapters.publishers.cloudflare.publisher import CloudflarePublisher
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.rollback import see_through
from shared.sealing import Seal
from shared.settings import load_settings
from tests.edge_world import until
from tests.fakes.cloudflare import FakeCloudflare, fake_cloudflare
from tests.going_live import PROJECT, SITE, Live, going_live

TARGET = "cloudflare"
GOOD = {"index.html": b"good", "style.css": b"a {}"}


@dataclass
class There:
    """A project that goes live on Cloudflare."""

    live: Live
    fake: FakeCloudflare

    async def served(self) -> tuple[bytes, str]:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(self.live.ports.publishers[TARGET].public_url(SITE))
        return answer.content, answer.headers.get("x-zepid-release", "")

    async def fails(self, command: Command) -> str:
        """Run the deploy step, which fails, and all that follows; return the error's code."""
        with pytest.raises(ZepidError) as failed:
            await deploy(command, self.live.ports)
        await self.live.fail(command)
        return failed.value.code.name

    async def has_two(self) -> bool:
        return self.fake.script(SITE).deployed == 2

    async def published(self) -> str | None:
        found: str | None = await self.live.world.pool.fetchval(
            "select release_id from publication where site = $1", SITE
        )
        return found


@pytest_asyncio.fixture
async def there(database_url: str, tmp_path: Path) -> AsyncIterator[There]:
    async with going_live(database_url, tmp_path) as live, fake_cloudflare() as fake:
        settings = load_settings(live.world.settings.as_environ(), **fake.settings)
        pointers = Publications(database_url, Seal(), TARGET)
        publisher = CloudflarePublisher(settings, live.world.objects, pointers, probe_seconds=1)
        live.ports = msgspec.structs.replace(live.ports, publishers={TARGET: publisher})
        live.target = TARGET
        yield There(live, fake)


async def test_a_deployment_is_live_at_its_address_on_cloudflare(there: There) -> None:
    for number in range(2):
        work = await there.live.go_live({"index.html": b"%d" % number})
        assert work.url == there.live.ports.publishers[TARGET].public_url(SITE)
        assert await there.served() == (b"%d" % number, work.release)
        assert await there.published() == work.release


async def test_a_release_that_cloudflare_rejects_leaves_the_old_one(there: There) -> None:
    before = await there.live.go_live(GOOD)
    there.fake.fail(f"^PUT .*/{SITE}$", 400, code=10021, message="Uncaught SyntaxError")
    assert await there.fails(await there.live.accept({"index.html": b"bad"})) == "PUBLISH_REJECTED"
    assert await there.served() == (b"good", before.release)
    assert await there.published() == before.release


async def test_a_release_that_is_not_seen_live_is_taken_back(there: There) -> None:
    before = await there.live.go_live(GOOD)
    command = await there.live.accept({"index.html": b"bad"})
    there.fake.sites_fail = True
    assert await there.fails(command) == "PUBLISH_FAILED"
    there.fake.sites_fail = False
    assert await there.served() == (b"good", before.release)


async def test_a_first_release_that_fails_leaves_nothing_behind(there: There) -> None:
    there.fake.sites_fail = True
    assert await there.fails(await there.live.accept(GOOD)) == "PUBLISH_FAILED"
    assert there.fake.scripts == {}
    assert await there.published() is None


async def test_a_deployment_cancelled_in_mid_publication_is_taken_back(there: There) -> None:
    before = await there.live.go_live(GOOD)
    command = await there.live.accept({"index.html": b"cancelled"})
    there.fake.sites_fail = True
    running = asyncio.create_task(deploy(command, there.live.ports))
    await until(there.has_two)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await there.live.deployments.end(command.deployment_id, "cancelled")
    await cleanup(command, there.live.ports)
    there.fake.sites_fail = False
    assert await there.served() == (b"good", before.release)


async def test_a_rollback_publishes_the_kept_release_without_an_upload(there: There) -> None:
    first = await there.live.go_live(GOOD)
    await there.live.go_live({"index.html": b"second"})
    uploaded = there.fake.blobs_uploaded()
    releases = Releases(there.live.world.pool)
    switch = await releases.roll_back(
        id=f"back_{uuid4().hex}",
        project_id=PROJECT,
        release_id=first.release,
        user_id="u",
        reason="",
        targets=[TARGET],
    )
    assert (switch.verdict, switch.target) == ("switched", TARGET)
    assert switch.rollback is not None
    await see_through(releases, there.live.ports.publishers, switch.rollback)
    assert await there.served() == (b"good", first.release)
    assert there.fake.blobs_uploaded() == uploaded
