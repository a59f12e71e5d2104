"""The steps deploy and cleanup over a real database, a real bucket and a real edge."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from services.steps.cleanup.handler import handle as cleanup
from services.steps.deploy.handler import handle as deploy
from shared import blobs
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.contracts.outcomes import Back, Done, Reject
from tests.going_live import SITE, Live, going_live


@pytest_asyncio.fixture
async def live(database_url: str, tmp_path: Path) -> AsyncIterator[Live]:
    async with going_live(database_url, tmp_path) as live:
        yield live


async def test_deploy_puts_the_release_live_and_says_so(live: Live) -> None:
    work = await live.go_live({"index.html": b"first"})
    assert work.url == f"http://{SITE}.localhost:{live.world.settings.edge_port}/"
    assert await live.served() == (b"first", work.release)
    assert live.log.lines[-1] == f"Live at {work.url}"
    assert any(work.release in line for line in live.log.lines)


async def test_deploy_again_makes_the_same_release(live: Live) -> None:
    command = await live.accept({"index.html": b"first"})
    first, second = await deploy(command, live.ports), await deploy(command, live.ports)
    assert first == second
    assert await live.world.pool.fetchval("select count(*) from release") == 1


async def test_each_deployment_replaces_the_one_before(live: Live) -> None:
    for number in range(3):
        work = await live.go_live({"index.html": b"%d" % number})
        assert await live.served() == (b"%d" % number, work.release)


async def test_a_release_without_an_index_never_gets_the_pointer(live: Live) -> None:
    before = await live.go_live({"index.html": b"good"})
    command = await live.accept({"readme.txt": b"no page"})
    with pytest.raises(ZepidError, match=r"index\.html") as failed:
        await deploy(command, live.ports)
    assert failed.value.code.name == "RELEASE_PROBE_FAILED"
    assert await live.served() == (b"good", before.release)


async def sent_back(live: Live, command: Command) -> str | None:
    outcome = await deploy(command, live.ports)
    return outcome.step if isinstance(outcome, Back) else None


async def test_a_lost_file_is_built_again(live: Live) -> None:
    before = await live.go_live({"index.html": b"good"})
    command = await live.accept({"index.html": b"new", "style.css": b"a {}"})
    await live.world.objects.delete(blobs.key_of(blobs.digest_of(b"a {}")))
    assert await sent_back(live, command) == "build"
    assert await live.served() == (b"good", before.release)
    built_again = await live.build({"index.html": b"new, again"})
    again = msgspec.structs.replace(command, work=msgspec.structs.replace(command.work, artifact=built_again))
    assert isinstance(await deploy(again, live.ports), Done)
    assert (await live.served())[0] == b"new, again"


async def test_a_lost_artifact_never_gets_the_pointer(live: Live) -> None:
    before = await live.go_live({"index.html": b"good"})
    command = await live.accept({"index.html": b"new"})
    await live.world.objects.delete(blobs.key_of(command.work.artifact))
    assert await sent_back(live, command) == "build"
    assert await live.served() == (b"good", before.release)


async def test_a_deployment_that_has_ended_is_refused(live: Live) -> None:
    before = await live.go_live({"index.html": b"good"})
    command = await live.accept({"index.html": b"late"})
    await live.deployments.end(command.deployment_id, "cancelled")
    outcome = await deploy(command, live.ports)
    assert isinstance(outcome, Reject)
    assert outcome.failure.code == "OUTCOME_ALREADY_DECIDED"
    assert await live.served() == (b"good", before.release)


async def test_a_switch_that_was_never_confirmed_goes_back_when_the_deployment_fails(live: Live) -> None:
    before = await live.go_live({"index.html": b"good"})
    command = await live.accept({"index.html": b"bad"})
    assert isinstance(await deploy(command, live.ports), Done)
    await live.fail(command)
    publisher = live.ports.publishers["local"]
    await publisher.probe(publisher.public_url(SITE), before.release)


async def test_cleanup_destroys_the_sandbox_and_frees_the_project_however_often_it_runs(live: Live) -> None:
    command = await live.accept({"index.html": b"first"})
    await live.fail(command)
    await cleanup(command, live.ports)
    assert live.sandboxes.names == [command.deployment_id] * 2
    assert isinstance(await deploy(await live.accept({"index.html": b"next"}), live.ports), Done)
