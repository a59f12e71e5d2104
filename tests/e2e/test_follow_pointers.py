"""What Cloudflare serves follows the pointers, also where nobody is left to see to it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from services.reconciler.publications import follow_pointers
from services.steps.deploy.handler import handle as deploy
from shared.adapters.postgres.projects import Projects
from shared.adapters.postgres.publications import Publications
from shared.adapters.publishers.cloudflare.account import Account
from shared.adapters.publishers.cloudflare.publisher import CloudflarePublisher
from shared.adapters.publishers.cloudflare.script import Publication
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.sealing import Seal
from shared.settings import load_settings
from tests.fakes.cloudflare import FakeCloudflare, fake_cloudflare
from tests.going_live import PROJECT, SITE, Live, going_live, quick_publisher

TARGET = "cloudflare"
GOOD = {"index.html": b"good"}


@dataclass
class There:
    """A project that goes live on Cloudflare, or at the edge."""

    live: Live
    fake: FakeCloudflare

    async def follow(self, quiet_seconds: float = 0) -> list[str]:
        return await follow_pointers(self.live.world.pool, self.live.ports.publishers, quiet_seconds)

    async def delete_project(self) -> None:
        deletion = await Projects(self.live.world.pool).delete(PROJECT, "ada")
        assert deletion.verdict == "deleted"

    async def known(self) -> int:
        return int(await self.live.world.pool.fetchval("select count(*) from publication"))

    async def served(self) -> bytes:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(self.live.ports.publishers[TARGET].public_url(SITE))).content

    async def end_unseen(self, command: Command) -> None:
        """End a deployment whose site was never seen live, without anybody to take it back from Cloudflare."""
        self.fake.sites_fail = True
        with pytest.raises(ZepidError):
            await deploy(command, self.live.ports)
        self.fake.sites_fail = False
        await self.live.deployments.end(command.deployment_id, "failed")


@pytest_asyncio.fixture
async def there(database_url: str, tmp_path: Path) -> AsyncIterator[There]:
    async with going_live(database_url, tmp_path) as live, fake_cloudflare() as fake:
        settings = load_settings(live.world.settings.as_environ(), **fake.settings)
        pointers = Publications(database_url, Seal(), TARGET)
        places = {
            "local": quick_publisher(settings),
            TARGET: CloudflarePublisher(settings, live.world.objects, pointers, probe_seconds=1),
        }
        live.ports = msgspec.structs.replace(live.ports, publishers=places)
        live.target = TARGET
        yield There(live, fake)


async def test_what_a_live_project_serves_is_left_alone(there: There) -> None:
    await there.live.go_live(GOOD)
    calls = len(there.fake.calls)
    assert await there.follow() == []
    assert len(there.fake.calls) == calls
    assert await there.served() == b"good"


async def test_the_script_of_a_deleted_project_is_removed_once_and_for_all(there: There) -> None:
    await there.live.go_live(GOOD)
    await there.delete_project()
    assert await there.follow(quiet_seconds=60) == [], "whoever published it last may not have finished"
    there.fake.fail("^DELETE ", 403, message="no permission")
    assert await there.follow() == []
    assert await there.known() == 1
    assert await there.follow() == [SITE]
    assert there.fake.scripts == {}
    assert await there.known() == 0
    assert await there.follow() == []


async def test_a_script_that_somebody_else_removed_is_no_obstacle(there: There) -> None:
    await there.live.go_live(GOOD)
    await there.delete_project()
    there.fake.scripts.clear()
    assert await there.follow() == [SITE]
    assert await there.known() == 0


async def test_the_script_of_a_project_that_moved_to_the_edge_is_removed(there: There) -> None:
    await there.live.go_live(GOOD)
    there.live.target = "local"
    command = await there.live.accept({"index.html": b"here"})
    await deploy(command, there.live.ports)
    assert await there.follow() == [], "its deployment is not over"
    assert there.fake.scripts
    await there.live.fail(command)
    assert await there.follow() == []
    assert await there.served() == b"good"
    await there.live.go_live({"index.html": b"here"})
    assert await there.follow() == [SITE]
    assert there.fake.scripts == {}
    assert (await there.live.served())[0] == b"here"


async def test_what_nobody_took_back_is_put_right(there: There) -> None:
    await there.live.go_live(GOOD)
    await there.end_unseen(command := await there.live.accept({"index.html": b"bad"}))
    assert await there.served() == b"bad"
    assert await there.follow() == [], "its deployment is not over"
    await there.live.deployments.free(command.deployment_id)
    assert await there.follow() == [SITE]
    assert await there.served() == b"good"


async def test_a_publication_that_was_noted_and_never_made_is_made(there: There) -> None:
    await there.live.go_live(GOOD)
    await there.end_unseen(command := await there.live.accept({"index.html": b"bad"}))
    await there.live.deployments.free(command.deployment_id)
    there.fake.fail(f"^PUT .*/{SITE}$", 400, message="not now")
    assert await there.follow() == []
    assert await there.served() == b"bad"
    assert await there.follow() == [SITE]
    assert await there.served() == b"good"


async def test_a_project_deleted_in_the_middle_of_a_publication_leaves_no_script(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    await there.live.go_live(GOOD)
    await there.live.go_live({"index.html": b"second"})
    serve = Account.serve

    async def deleted_meanwhile(account: Account, publication: Publication) -> Any:
        await there.delete_project()
        await serve(account, publication)

    monkeypatch.setattr(Account, "serve", deleted_meanwhile)
    there.fake.scripts.clear()
    await there.live.ports.publishers[TARGET].publish(SITE, "")
    assert there.fake.scripts == {}
    assert await there.known() == 0
