"""Releases, rollback, lock and pin, over HTTP and a real edge."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.cli.errors import CommandError
from services.cli.releasing import list_releases, lock_project, pin_release, roll_back, unlock_project
from services.reconciler.rollbacks import settle_rollbacks
from services.steps.deploy.handler import handle as deploy
from shared import blobs
from shared.adapters.postgres.releases import Releases
from shared.client import Client
from shared.contracts.outcomes import Done, Reject
from tests.desk import Desk, open_desk
from tests.going_live import PROJECT, SITE


@pytest_asyncio.fixture
async def desk(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(nats_server, database_url, tmp_path) as desk:
        yield desk


async def three(desk: Desk) -> list[str]:
    """Put three releases live, one after the other; return their ids."""
    return [(await desk.live.go_live({"index.html": b"page %d" % number})).release for number in range(3)]


async def unseen(desk: Desk, page: bytes) -> str:
    """Record a release as if it had been live, but no edge has ever read it; return its id."""
    command = await desk.live.accept({"index.html": page})
    manifest = await blobs.load_manifest(desk.live.world.objects, command.work.artifact)
    deployments = desk.live.deployments
    release = await deployments.insert_release(command.deployment_id, command.work.artifact, manifest)
    await deployments.end(command.deployment_id, "completed", url="http://site", release=release)
    await deployments.free(command.deployment_id)
    return release


async def test_releases_are_listed_newest_first_page_by_page(desk: Desk) -> None:
    ids = await three(desk)
    listed = await desk.releases()
    assert [release["id"] for release in listed] == ids[::-1]
    assert [release["live"] for release in listed] == [True, False, False]
    newest = listed[0]
    assert newest["kept"]
    assert not newest["pinned"]
    assert (newest["files"], newest["size"]) == (1, 6)
    assert newest["url"].startswith(f"http://{ids[2].replace('_', '-')}.{SITE}.localhost")
    path = f"/projects/{PROJECT}/releases"
    first = (await desk.client.get(path, params={"limit": 2})).json()
    second = (await desk.client.get(path, params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert [release["id"] for page in (first, second) for release in page["releases"]] == ids[::-1]
    assert "nextCursor" not in second


async def test_a_rollback_serves_the_old_release_at_once_and_is_recorded(desk: Desk) -> None:
    ids = await three(desk)
    began = time.perf_counter()
    answer = await desk.roll_back(ids[0], "the newest is broken")
    assert time.perf_counter() - began < 1
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["releaseId"], body["previousReleaseId"], body["changed"]) == (ids[0], ids[2], True)
    assert await desk.live.served() == (b"page 0", ids[0])
    assert [release["live"] for release in await desk.releases()] == [False, False, True]
    [recorded] = (await desk.client.get(f"/projects/{PROJECT}/rollbacks")).json()["rollbacks"]
    assert recorded | {"id": "", "at": ""} == {
        "id": "", "at": "", "fromReleaseId": ids[2], "toReleaseId": ids[0], "userId": "ada",
        "reason": "the newest is broken", "state": "confirmed", "fault": None,
    }  # fmt: skip


async def test_the_command_line_goes_back_one_release_at_a_time(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    ids = await three(desk)
    token = desk.client.headers["authorization"].removeprefix("Bearer ")
    async with Client(str(desk.client.base_url), token) as client:
        await list_releases(client, PROJECT, limit=20, as_json=False)
        shown = capsys.readouterr().out
        assert all(release in shown for release in ids)
        for expected in (ids[1], ids[0]):
            await roll_back(client, PROJECT, None, "", as_json=False)
            assert f"Live        {expected}" in capsys.readouterr().out
        with pytest.raises(CommandError, match="no kept release before"):
            await roll_back(client, PROJECT, None, "", as_json=False)
        rollbacks = await client.releases.rollbacks(PROJECT)
        assert [rollback.to_release_id for rollback in rollbacks] == [ids[0], ids[1]]
        await pin_release(client, PROJECT, ids[0], pinned=True, as_json=True)
        await lock_project(client, PROJECT, "sale", as_json=False)
        await list_releases(client, PROJECT, limit=20, as_json=False)
        shown = capsys.readouterr().out
        assert "live, pinned" in shown
        assert "Locked by ada: sale" in shown
        await unlock_project(client, PROJECT, as_json=False)
        assert await client.releases.lock(PROJECT) is not None


async def test_going_back_to_what_is_live_changes_nothing(desk: Desk) -> None:
    ids = await three(desk)
    answer = await desk.roll_back(ids[2])
    assert (answer.status_code, answer.json()["changed"]) == (200, False)
    assert (await desk.client.get(f"/projects/{PROJECT}/rollbacks")).json() == {"rollbacks": []}


async def test_only_a_release_of_the_project_that_was_live_and_is_kept_can_be_gone_back_to(desk: Desk) -> None:
    first = await desk.live.go_live({"index.html": b"good"})
    broken = await desk.live.accept({"index.html": b"bad"})
    assert isinstance(await deploy(broken, desk.live.ports), Done)
    await desk.live.fail(broken)
    assert (await desk.roll_back("rel_unknown")).status_code == 404
    answer = await desk.roll_back(f"rel_{broken.deployment_id.removeprefix('deploy_')}")
    assert (answer.status_code, answer.json()["error"]) == (409, "RELEASE_NOT_KEPT")
    second = await desk.live.go_live({"index.html": b"newer"})
    await desk.live.world.pool.execute("update deployment set expired_at = now() where release_id = $1", first.release)
    answer = await desk.roll_back(first.release)
    assert (answer.status_code, answer.json()["error"]) == (409, "RELEASE_NOT_KEPT")
    assert await desk.live.served() == (b"newer", second.release)


async def test_a_rollback_that_is_not_seen_live_puts_the_pointer_back_and_says_why(desk: Desk) -> None:
    damaged = await unseen(desk, b"damaged")
    await desk.live.world.objects.delete(blobs.key_of(blobs.digest_of(b"damaged")))
    ids = await three(desk)
    answer = await desk.roll_back(damaged)
    assert answer.status_code == 502, answer.text
    assert "as it was before" in answer.json()["message"]
    assert await desk.live.served() == (b"page 2", ids[2])
    [recorded] = (await desk.client.get(f"/projects/{PROJECT}/rollbacks")).json()["rollbacks"]
    assert recorded["state"] == "undone"
    assert "503" in recorded["fault"]


async def test_a_deployment_that_had_switched_does_not_undo_a_rollback_that_came_later(desk: Desk) -> None:
    ids = await three(desk)
    command = await desk.live.accept({"index.html": b"newest"})
    assert isinstance(await deploy(command, desk.live.ports), Done)
    assert (await desk.roll_back(ids[0])).status_code == 200
    again = await deploy(command, desk.live.ports)
    assert isinstance(again, Reject)
    assert again.failure.code == "POINTER_MOVED"
    await desk.live.fail(command)
    assert await desk.live.served() == (b"page 0", ids[0])


async def test_a_deployment_that_switches_after_a_rollback_wins_and_failing_leaves_the_rollback(desk: Desk) -> None:
    ids = await three(desk)
    command = await desk.live.accept({"index.html": b"newest"})
    assert (await desk.roll_back(ids[0])).status_code == 200
    assert isinstance(await deploy(command, desk.live.ports), Done)
    assert (await desk.live.served())[0] == b"newest"
    await desk.live.fail(command)
    assert await desk.pointer() == ids[0]


async def test_many_rollbacks_and_deployments_at_once_leave_what_one_of_them_wanted(desk: Desk) -> None:
    ids = await three(desk)
    command = await desk.live.accept({"index.html": b"newest"})
    *answers, deployed = await asyncio.gather(
        *(desk.roll_back(ids[number % 3]) for number in range(12)), deploy(command, desk.live.ports)
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    wanted = {*ids, *({deployed.work.release} if isinstance(deployed, Done) else set())}
    assert await desk.pointer() in wanted
    body, served = await desk.live.served()
    assert body == (b"page %d" % ids.index(served) if served in ids else b"newest")


async def test_a_rollback_whose_gateway_died_is_settled_by_the_reconciler(desk: Desk) -> None:
    ids = await three(desk)
    releases = Releases(desk.resources.pool)
    switch = await releases.roll_back(
        id="back_1", project_id=PROJECT, release_id=ids[1], user_id="ada", reason="", targets=["local"]
    )
    assert switch.verdict == "switched"
    assert await settle_rollbacks(desk.resources) == []
    await desk.resources.pool.execute("update rollback set began_at = now() - interval '5 minutes'")
    assert await settle_rollbacks(desk.resources) == ["back_1"]
    assert await desk.resources.pool.fetchval("select settled from rollback") == "confirmed"
    assert await desk.live.served() == (b"page 1", ids[1])


async def test_nothing_is_put_live_for_a_locked_project(desk: Desk) -> None:
    ids = await three(desk)
    running = await desk.live.accept({"index.html": b"late"})
    answer = await desk.client.post(f"/projects/{PROJECT}/lock", json={"reason": "sale"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["lock"]["lockedBy"], answer.json()["lock"]["reason"]) == ("ada", "sale")
    assert (await desk.client.get(f"/projects/{PROJECT}/releases")).json()["lock"]["reason"] == "sale"
    outcome = await deploy(running, desk.live.ports)
    assert isinstance(outcome, Reject)
    assert outcome.failure.code == "PROJECT_LOCKED"
    await desk.live.fail(running)
    refused = await desk.client.post("/deploy", json={"projectId": PROJECT, "orgId": "o", "userId": "u"})
    assert (refused.status_code, refused.json()["error"]) == (409, "PROJECT_LOCKED")
    refused = await desk.roll_back(ids[0])
    assert (refused.status_code, refused.json()["error"]) == (409, "PROJECT_LOCKED")
    assert await desk.live.served() == (b"page 2", ids[2])
    assert (await desk.client.delete(f"/projects/{PROJECT}/lock")).json()["lock"] is None
    assert (await desk.roll_back(ids[0])).status_code == 200


async def test_a_lock_without_a_body_is_a_lock(desk: Desk) -> None:
    assert (await desk.client.post(f"/projects/{PROJECT}/lock")).json()["lock"]["reason"] == ""


async def test_a_release_is_pinned_and_let_go(desk: Desk) -> None:
    ids = await three(desk)
    path = f"/projects/{PROJECT}/releases/{ids[0]}/pin"
    assert (await desk.client.post(path)).json()["pinned"]
    assert [release["pinned"] for release in await desk.releases()] == [False, False, True]
    assert not (await desk.client.delete(path)).json()["pinned"]
    assert not any(release["pinned"] for release in await desk.releases())
    assert (await desk.client.post(f"/projects/{PROJECT}/releases/rel_other/pin")).status_code == 404


async def test_a_page_loaded_before_a_switch_still_gets_its_hashed_files(desk: Desk) -> None:
    old = {"index.html": b"old", "static/js/main.073c9b0a.js": b"old script", "price.pdf": b"old prices"}
    first = await desk.live.go_live(old)
    await desk.live.go_live({"index.html": b"new", "static/js/main.9f8e7d6c.js": b"new script"})
    async with desk.live.world.client(SITE) as browser:
        script = await browser.get("/static/js/main.073c9b0a.js")
        assert (script.content, script.headers["x-zepid-release"]) == (b"old script", first.release)
        assert (await browser.get("/price.pdf")).status_code == 404
        await desk.resources.pool.execute("update release set replaced_at = now() - interval '25 hours'")
        await desk.live.go_live({"index.html": b"newest"})
        assert (await browser.get("/static/js/main.073c9b0a.js")).status_code == 404
        assert (await browser.get("/static/js/main.9f8e7d6c.js")).content == b"new script"


async def at_another_place(desk: Desk, release: str) -> None:
    """Let a release be one of a place that is not set up here any more."""
    await desk.resources.pool.execute(
        "update deployment set target = 'cloudflare' where id = (select deployment_id from release where id = $1)",
        release,
    )


async def test_a_release_of_a_place_that_is_not_set_up_is_listed_and_not_gone_back_to(desk: Desk) -> None:
    ids = await three(desk)
    await at_another_place(desk, ids[0])
    listed = await desk.releases()
    assert [release["id"] for release in listed] == ids[::-1]
    assert listed[2]["url"].startswith(f"http://{ids[0].replace('_', '-')}.{SITE}.localhost")
    refused = await desk.roll_back(ids[0])
    assert (refused.status_code, refused.json()["error"]) == (502, "PUBLISH_TARGET_MISSING")
    assert await desk.pointer() == ids[2]
    assert (await desk.client.get(f"/projects/{PROJECT}/rollbacks")).json()["rollbacks"] == []


async def test_a_rollback_whose_place_was_switched_off_before_it_was_seen_live_is_undone(desk: Desk) -> None:
    ids = await three(desk)
    await at_another_place(desk, ids[0])
    switch = await Releases(desk.resources.pool).roll_back(
        id="back_1", project_id=PROJECT, release_id=ids[0], user_id="u", reason="", targets=["local", "cloudflare"]
    )
    assert switch.verdict == "switched"
    await desk.resources.pool.execute("update rollback set began_at = now() - interval '5 minutes'")
    assert await settle_rollbacks(desk.resources) == ["back_1"]
    assert await desk.resources.pool.fetchval("select settled from rollback") == "undone"
    assert await desk.pointer() == ids[2]
