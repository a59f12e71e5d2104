"""Retention: what is kept, what is removed, and that nothing is lost while others deploy and roll back.

The race has 50 rounds; `ZEPID_RACES=1000` gives it its full length.
"""

import asyncio
import dataclasses
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest_asyncio

from services.reconciler.retention import keep_tidy
from services.steps.cleanup.handler import handle as cleanup
from services.steps.deploy.handler import handle as deploy
from shared import blobs
from shared.adapters.postgres.barrier import keeping_blobs, only_collection
from shared.collection import Collector, Removed, Rules
from shared.contracts.messages import Work
from shared.contracts.outcomes import Back, Done
from tests.desk import Desk, open_desk
from tests.going_live import PROJECT
from tests.waiting import until

RACES = int(os.environ.get("ZEPID_RACES", "50"))
AT_ONCE = Rules(older_than_days=0, keep_releases=2, earlier_seconds=0, grace_seconds=0)
"""Everything that may go goes."""


@pytest_asyncio.fixture
async def desk(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(nats_server, database_url, tmp_path, scope="admin", earlier_assets_seconds=0) as desk:
        yield desk


def page(number: int) -> dict[str, bytes]:
    return {"index.html": b"page %d" % number, "logo.svg": b"<svg/>"}


async def live(desk: Desk, count: int) -> list[str]:
    """Put some releases live, one after the other; return their ids."""
    return [(await desk.live.go_live(page(number))).release for number in range(count)]


async def collect(desk: Desk, rules: Rules = AT_ONCE, *, dry_run: bool = False) -> Removed:
    resources = desk.resources
    return await Collector(resources.pool, resources.artifacts, resources.logs).collect(rules, dry_run=dry_run)


async def stored(desk: Desk) -> set[str]:
    return {key.removeprefix("blobs/") async for key in desk.live.world.objects.keys("blobs/")}


async def kept(desk: Desk) -> list[str]:
    return [release["id"] for release in await desk.releases() if release["kept"]]


async def needed(desk: Desk) -> set[str]:
    """The blobs of all kept releases, their manifests among them."""
    rows = await desk.resources.pool.fetch(
        "select manifest from release r join deployment d on d.id = r.deployment_id where d.expired_at is null"
    )
    manifests = {row["manifest"] for row in rows}
    trees = [await blobs.load_manifest(desk.live.world.objects, digest) for digest in manifests]
    return manifests | {digest for tree in trees for digest in tree.digests}


async def test_the_newest_and_the_live_the_previous_and_the_pinned_stay(desk: Desk) -> None:
    ids = await live(desk, 7)
    await desk.client.post(f"/projects/{PROJECT}/releases/{ids[0]}/pin")
    assert (await desk.roll_back(ids[1])).status_code == 200
    assert (await desk.roll_back(ids[2])).status_code == 200
    removed = await collect(desk)
    assert await kept(desk) == [ids[6], ids[5], ids[2], ids[1], ids[0]]
    assert (removed.deployments, removed.releases) == (2, 2)
    assert await stored(desk) == await needed(desk)
    assert await desk.live.served() == (b"page 2", ids[2])
    answer = await desk.roll_back(ids[3])
    assert (answer.status_code, answer.json()["error"]) == (409, "RELEASE_NOT_KEPT")
    assert (await desk.client.post(f"/projects/{PROJECT}/releases/{ids[3]}/pin")).status_code == 409
    assert (await desk.roll_back(ids[0])).status_code == 200


async def test_what_is_young_or_just_replaced_stays(desk: Desk) -> None:
    await live(desk, 5)
    before = await stored(desk)
    assert await collect(desk, msgspec.structs.replace(AT_ONCE, older_than_days=1)) == Removed()
    assert (await collect(desk, msgspec.structs.replace(AT_ONCE, earlier_seconds=60))).releases == 0
    await collect(desk, msgspec.structs.replace(AT_ONCE, grace_seconds=3600))
    assert await stored(desk) == before


async def test_a_dry_run_says_what_a_run_does_and_does_nothing(desk: Desk) -> None:
    await live(desk, 6)
    before = await stored(desk)
    said = await collect(desk, dry_run=True)
    assert await stored(desk) == before
    assert len(await kept(desk)) == 6
    assert await collect(desk) == said
    assert said.blobs == 8
    assert await collect(desk) == Removed()


async def test_old_sources_logs_and_remembered_builds_go_with_their_deployment(desk: Desk) -> None:
    pool, objects = desk.resources.pool, desk.live.world.objects
    path = f"/projects/{PROJECT}/source"
    for number in range(2):
        tree = {"files": {"a.txt": {"digest": blobs.digest_of(b"%d" % number), "size": 1}}}
        for digest in (await desk.client.post(path, json=tree)).json()["missing"]:
            await desk.client.put(f"/blobs/{digest}", content=b"%d" % number)
        assert (await desk.client.post(path, json=tree)).json()["snapshotId"]
    lost = await desk.live.accept({"index.html": b"lost"})
    await objects.put("builds/o/remembered", lost.work.artifact.encode())
    await desk.resources.logs.put(f"logs/{lost.deployment_id}/04-build.1.ndjson", b"{}\n")
    await desk.resources.logs.put(f"errors/{lost.deployment_id}/1.txt", b"Traceback")
    old = msgspec.structs.replace(AT_ONCE, grace_seconds=3600)
    assert (await collect(desk, old)).deployments == 0, "it runs"
    await desk.live.fail(lost)
    removed = await collect(desk, old)
    assert (removed.deployments, removed.logs, removed.builds, removed.blobs) == (1, 2, 0, 0)
    for file in desk.folder.rglob("libra-deployment-artifacts/*/**/*"):
        os.utime(file, (0, 0))
    removed = await collect(desk, old)
    assert (removed.builds, removed.uploads) == (1, 0), "just uploaded"
    await pool.execute("update uploaded_blob set recorded_at = now() - interval '1 day'")
    assert (await collect(desk, old)).uploads == 1
    assert await pool.fetchval("select count(*) from snapshot") == 1
    assert await stored(desk) >= {blobs.digest_of(b"1")}
    assert blobs.digest_of(b"0") not in await stored(desk)
    answer = await desk.client.post(f"/deploy/{lost.deployment_id}/retry")
    assert (answer.status_code, answer.json()["error"]) == (400, "SOURCE_MISSING")
    tree = {"files": {"a.txt": {"digest": blobs.digest_of(b"0"), "size": 1}}}
    assert (await desk.client.post(path, json=tree)).json()["missing"] == [blobs.digest_of(b"0")]


async def test_only_one_runs_and_only_while_nobody_keeps_blobs(desk: Desk) -> None:
    await live(desk, 4)
    async with only_collection(desk.resources.pool):
        answer = await desk.client.post("/status/cleanup", json={})
        assert (answer.status_code, answer.json()["error"]) == (409, "CLEANUP_RUNNING")
    async with keeping_blobs(desk.resources.pool):
        running = asyncio.create_task(collect(desk))
        done, _ = await asyncio.wait({running}, timeout=0.2)
        assert not done
    assert (await running).releases == 2


async def test_an_operator_cleans_up_over_http(desk: Desk) -> None:
    ids = await live(desk, 4)
    order = {"olderThanDays": 0, "keepReleases": 1, "dryRun": True}
    answer = await desk.client.post("/status/cleanup", json=order)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["dryRun"], answer.json()["removed"]["releases"]) == (True, 2)
    assert (await desk.client.post("/status/cleanup", json=order | {"dryRun": False})).json()["removed"][
        "releases"
    ] == 2
    assert await kept(desk) == [ids[3], ids[2]]
    assert (await desk.client.post("/status/cleanup")).json()["removed"]["releases"] == 0
    assert (await desk.client.post("/status/cleanup", json={"keepReleases": 0})).status_code == 400


async def test_the_reconciler_cleans_up_when_it_is_due(desk: Desk) -> None:
    await live(desk, 3)
    settings = msgspec.structs.replace(
        desk.resources.settings, retention_days=0, retention_releases=1, retention_interval=3600, blob_grace=0
    )
    resources = dataclasses.replace(desk.resources, settings=settings)
    stopping = asyncio.Event()
    tidying = asyncio.create_task(keep_tidy(resources, stopping))

    async def is_tidy() -> bool:
        return len(await kept(desk)) == 2

    await until(is_tidy)
    stopping.set()
    await tidying


async def test_a_full_disk_refuses_deployments(nats_server: str, database_url: str, tmp_path: Path) -> None:
    async with open_desk(nats_server, database_url, tmp_path, storage_high_water=1) as desk:
        answer = await desk.client.post("/deploy", json={"projectId": PROJECT, "orgId": "o", "userId": "u"})
        assert (answer.status_code, answer.json()["error"]) == (507, "STORAGE_FULL")


async def test_no_blob_is_lost_while_deployments_and_rollbacks_race_the_collection(desk: Desk) -> None:
    await live(desk, 3)
    chosen = random.Random(20261125)
    for number in range(RACES):
        targets = await kept(desk)
        _, answer, _ = await asyncio.gather(
            _go_live(desk, 10 + number % 7), desk.roll_back(chosen.choice(targets)), collect(desk)
        )
        assert answer.status_code in (200, 409), answer.text
        assert await needed(desk) <= await stored(desk)
        assert (await desk.live.served())[0].startswith(b"page ")
    await collect(desk)
    assert await stored(desk) == await needed(desk)
    assert len(await kept(desk)) <= 4


async def _go_live(desk: Desk, number: int) -> Work:
    """Deploy as the pipeline does, which builds again when files were lost before they were released."""
    command = await desk.live.accept(page(number))
    for _ in range(20):
        outcome = await deploy(command, desk.live.ports)
        if not isinstance(outcome, Back):
            break
        artifact = await desk.live.build(page(number))
        command = msgspec.structs.replace(command, work=msgspec.structs.replace(command.work, artifact=artifact))
    if isinstance(outcome, Done):
        work = outcome.work
        await desk.live.deployments.end(command.deployment_id, "completed", url=work.url, release=work.release)
        await cleanup(command, desk.live.ports)
        return work
    assert outcome.failure.code == "POINTER_MOVED", outcome
    await desk.live.fail(command)
    return command.work
