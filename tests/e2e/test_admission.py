"""Who may start when: limits, fairness between organisations, places in the queue, pauses."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import msgspec
import pytest_asyncio
from typer.testing import CliRunner

from services.cli import main as cli
from services.reconciler.deadlines import end_overdue
from shared.adapters.postgres.acceptance import Order
from shared.adapters.postgres.tokens import Tokens
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.ports import Ports
from shared.resources import Resources
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.stand import serving
from tests.waiting import until

SLOTS = 10
ORGANIZATIONS = tuple(f"org-{number:02}" for number in range(20))
FLOODING = ORGANIZATIONS[7]


@dataclass
class Stand:
    """A pipeline that is not started, a gateway before it, and a token of every organisation."""

    pipeline: Pipeline
    client: httpx.AsyncClient

    @property
    def resources(self) -> Resources:
        return self.pipeline.resources

    async def projects(self, organization_id: str, count: int) -> list[str]:
        ids = [f"p-{uuid4().hex}" for _ in range(count)]
        await self.resources.pool.execute(
            "insert into project (id, name, template_type, user_id, organization_id)"
            " select id, id, 'vite', 'u', $2 from unnest($1::text[]) id",
            ids,
            organization_id,
        )
        return ids

    async def post(self, project_id: str, organization_id: str, **more: object) -> httpx.Response:
        order = {"projectId": project_id, "orgId": organization_id, "userId": "u", **more}
        return await self.client.post("/deploy", json=order)

    async def deploy(self, organization_id: str, **more: object) -> str:
        [project_id] = await self.projects(organization_id, 1)
        answer = await self.post(project_id, organization_id, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["deploymentId"])

    async def status(self, deployment_id: str) -> dict[str, object]:
        answer = await self.client.get(f"/deploy/{deployment_id}/status")
        body: dict[str, object] = answer.json()
        return body

    async def switch(self, what: str, organization_id: str | None = None, token: str = "") -> httpx.Response:
        body = {"orgId": organization_id} if organization_id else None
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await self.client.post(f"/status/queue/{what}", json=body, headers=headers)

    async def admit(self, limit: int = 5, limit_of_one: int = 3) -> list[str]:
        return [row.id for row in await self.resources.deployments.admit(limit, limit_of_one, 600)]

    async def end_and_free(self, deployment_id: str) -> None:
        await self.resources.deployments.end(deployment_id, "completed")
        await self.resources.deployments.free(deployment_id)

    async def admitted(self) -> list[tuple[str, str]]:
        """Return (deployment, organisation) in the order of their starts."""
        rows = await self.resources.pool.fetch(
            "select id, organization_id from deployment where admitted_at is not null order by admitted_at"
        )
        return [(row["id"], row["organization_id"]) for row in rows]

    async def token(self, organization_id: str | None, *scopes: str) -> str:
        _, token = await Tokens(self.resources.pool).create("test", list(scopes), organization_id, "ada")
        return token


@asynccontextmanager
async def standing(nats_url: str, database_url: str, folder: Path, **limits: object) -> AsyncIterator[Stand]:
    async with (
        pipeline(settings_for(nats_url, database_url, folder, **limits)) as running,
        serving(running.resources) as (_, url),
    ):
        _, token = await Tokens(running.resources.pool).create("test", ["admin"], None, "operator")
        connections = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30, limits=connections
        ) as client:
            yield Stand(running, client)


@pytest_asyncio.fixture
async def stand(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    """The limits that services have by default."""
    async with standing(nats_server, database_url, tmp_path, max_concurrent_per_organization=3) as stand:
        yield stand


async def test_of_100_parallel_posts_for_one_project_one_is_accepted(stand):
    [project_id] = await stand.projects("org", 1)
    answers = await asyncio.gather(*(stand.post(project_id, "org") for _ in range(100)))
    accepted = [answer.json()["deploymentId"] for answer in answers if answer.status_code == 200]
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert (len(accepted), len(refused)) == (1, 99)
    assert {body["deploymentId"] for body in refused} == set(accepted)


# Fairness under a flood: the rate and waiting limits are raised, or most of it would be refused


async def hold_a_moment(command: Command, ports: Ports) -> Outcome:
    await asyncio.sleep(0.03)
    return Done(command.work)


async def flood(stand: Stand) -> list[str]:
    """Post 620 deployments of one organisation and 20 of each other, the flooding one first; return their ids."""
    projects = [(id, FLOODING) for id in await stand.projects(FLOODING, 300)]
    mixed = [(id, FLOODING) for id in await stand.projects(FLOODING, 320)]
    for organization_id in ORGANIZATIONS:
        if organization_id != FLOODING:
            mixed += [(id, organization_id) for id in await stand.projects(organization_id, 20)]
    random.Random(3).shuffle(mixed)
    answers = await asyncio.gather(*(stand.post(*order) for order in projects + mixed))
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json()["deploymentId"] for answer in answers]


async def predicted(stand: Stand, ids: list[str]) -> dict[str, int]:
    """Return which start each is predicted to be, numbered from 1 over the whole test; without those that started."""
    rows = await stand.resources.pool.fetch(
        "select given.id, (select count(*) from deployment where admitted_at is not null) + q.queue_position as number"
        " from unnest($1::text[]) as given(id) cross join lateral place_in_queue(given.id) q",
        ids,
    )
    return {row["id"]: int(row["number"]) for row in rows}


async def test_a_flooding_organisation_gets_its_share_and_positions_and_estimates_come_true(
    nats_server, database_url, tmp_path
):
    limits = {"max_concurrent_deployments": SLOTS, "max_waiting_per_organization": 10_000}
    async with standing(nats_server, database_url, tmp_path, **limits) as stand:
        stand.pipeline.handlers["validate"] = hold_a_moment
        stand.pipeline.start()
        assert (await stand.switch("pause")).status_code == 200
        ids = await flood(stand)
        chosen = random.Random(4).sample(ids, 200)
        sample = chosen[:20]
        before = await predicted(stand, chosen)
        told = [(await stand.status(id))["queuePosition"] for id in sample]
        assert told == [before[id] for id in sample]
        await stand.switch("resume")

        async def has_started(count: int) -> bool:
            query = "select count(*) from deployment where admitted_at is not null"
            return bool(await stand.resources.pool.fetchval(query) >= count)

        await until(lambda: has_started(200))
        asked_at, midway = time.time(), await predicted(stand, sample)
        bodies = {id: await stand.status(id) for id in sample}
        halfway = {id: body for id, body in bodies.items() if "estimatedStartSeconds" in body}
        positions = [told]
        while not await has_started(600):
            await asyncio.sleep(0.2)
            positions.append([(await stand.status(id)).get("queuePosition", 0) for id in sample])
        await until(lambda: has_started(1000))

        starts = await stand.admitted()
        number = {id: place for place, (id, _) in enumerate(starts, start=1)}
        assert before == {id: number[id] for id in chosen}
        assert midway == {id: number[id] for id in midway}
        counts = Counter(dict.fromkeys(ORGANIZATIONS, 0))
        for _, organization_id in starts[: 20 * len(ORGANIZATIONS)]:
            counts[organization_id] += 1
            assert max(counts.values()) - min(counts.values()) <= 1
        for one, other in itertools.pairwise(positions):
            assert all(later <= earlier for earlier, later in zip(one, other, strict=True))
        await estimates_came_true(stand, halfway, asked_at)


async def estimates_came_true(stand: Stand, bodies: dict[str, dict[str, object]], asked_at: float) -> None:
    assert len(bodies) >= 10
    for deployment_id, body in bodies.items():
        waited = await stand.resources.pool.fetchval(
            "select extract(epoch from admitted_at)::float8 - $2 from deployment where id = $1", deployment_id, asked_at
        )
        estimate = float(str(body["estimatedStartSeconds"]))
        assert waited / 3 - 2 <= estimate <= waited * 3 + 2, (body["queuePosition"], estimate, waited)


# Limits, priority, age


async def test_an_organisation_at_its_limit_holds_up_nobody(stand):
    many = [await stand.deploy("many") for _ in range(6)]
    assert await stand.admit() == many[:3]
    few = [await stand.deploy("few") for _ in range(2)]
    assert await stand.admit() == few
    assert await stand.admit() == []
    await stand.end_and_free(few[0])
    assert await stand.admit() == []
    await stand.end_and_free(many[1])
    assert await stand.admit() == [many[3]]


async def test_within_an_organisation_priority_goes_first_then_age(stand):
    ids = [await stand.deploy("org", priority=priority) for priority in (5, 1, 9, 5, 9)]
    assert [(await stand.status(id))["queuePosition"] for id in ids] == [3, 5, 1, 4, 2]
    assert await stand.admit(limit_of_one=5) == [ids[2], ids[4], ids[0], ids[3], ids[1]]


async def test_who_was_served_longest_ago_comes_first_whatever_its_priority(stand):
    one, other = await stand.deploy("one"), await stand.deploy("other")
    assert await stand.admit() == [one, other]
    for deployment_id in (one, other):
        await stand.end_and_free(deployment_id)
    later_of_other = await stand.deploy("other", priority=10)
    later_of_one = await stand.deploy("one", priority=1)
    new = await stand.deploy("new", priority=1)
    waiting = [new, later_of_one, later_of_other]
    assert [(await stand.status(id))["queuePosition"] for id in waiting] == [1, 2, 3]
    assert await stand.admit() == waiting


async def test_the_organisation_with_the_fewest_running_comes_first(stand):
    running = [await stand.deploy("busy") for _ in range(2)]
    assert await stand.admit() == running
    more = await stand.deploy("busy")
    idle = [await stand.deploy("idle") for _ in range(2)]
    assert await stand.admit(limit=5) == [*idle, more]


async def test_more_than_25_waiting_of_an_organisation_are_refused_and_others_are_not(stand):
    projects = await stand.projects("full", 26)
    answers = [await stand.post(project_id, "full") for project_id in projects]
    assert [answer.status_code for answer in answers] == [200] * 25 + [429]
    refusal = answers[-1]
    assert refusal.json()["error"] == "QUEUE_FULL"
    assert int(refusal.headers["retry-after"]) == refusal.json()["retryAfter"] > 0
    await stand.deploy("other")
    await stand.admit(limit=1)
    assert (await stand.post(projects[-1], "full")).status_code == 200


async def test_what_replaces_a_running_deployment_waits_for_its_death_and_holds_up_nobody(stand):
    [project_id] = await stand.projects("org", 1)
    old = (await stand.post(project_id, "org")).json()["deploymentId"]
    assert await stand.admit() == [old]
    new = f"deploy_{uuid4().hex}"
    verdict = await stand.resources.deployments.accept(Order(
        id=new, project_id=project_id, organization_id="org", user_id="u", priority=10, target="local",
        snapshot_id=None, traceparent="", max_waiting=25,
        superseding=ZepidError("CANCELLED", "replaced").failure("build"),
    ))  # fmt: skip
    assert (verdict.verdict, verdict.superseded_id) == ("accepted", old)
    other = await stand.deploy("org")
    assert await stand.admit() == [other]
    assert await stand.admit() == []
    await stand.resources.deployments.free(old)
    assert await stand.admit() == [new]


async def test_several_intakes_cancels_and_new_requests_at_once_exceed_no_limit(stand):
    deployments, pool = stand.resources.deployments, stand.resources.pool
    posted = [await stand.deploy(f"org-{number % 4}") for number in range(60)]
    cancelled = [*posted[5::6], *[await stand.deploy("late") for _ in range(5)]]
    admitted: list[str] = []

    async def intake() -> None:
        while await pool.fetchval("select true from deployment where outcome is null limit 1"):
            for row in await deployments.admit(5, 2, 600):
                admitted.append(row.id)
                await asyncio.sleep(0.002)
                await stand.end_and_free(row.id)

    async def cancel() -> None:
        for deployment_id in cancelled:
            await deployments.end(deployment_id, "cancelled")
            await deployments.free(deployment_id)

    async with asyncio.timeout(30):
        await asyncio.gather(*(intake() for _ in range(4)), cancel())
    assert len(admitted) == len(set(admitted))
    crowds = await pool.fetch(
        "select count(*) as all, count(*) filter (where r.organization_id = d.organization_id) as own"
        " from deployment d join deployment r on r.admitted_at <= d.admitted_at and r.freed_at > d.admitted_at"
        " group by d.id"
    )
    assert max(row["all"] for row in crowds) <= 5
    assert max(row["own"] for row in crowds) <= 2


async def test_admission_and_status_stay_cheap_with_10_000_waiting_and_old_statistics(stand):
    pool = stand.resources.pool
    insert = (
        "insert into deployment (id, project_id, organization_id, user_id, source, target, site, settings, admitted_at,"
        " outcome, freed_at) select $1 || n, $1 || n, 'org-' || n % $2, 'u', '', 'local', 's', '{}', at, outcome, at"
        " from generate_series(1, 10000) n, (values ($3::timestamptz, $4::text)) as past(at, outcome)"
    )
    async with pool.acquire() as connection:
        await connection.execute(insert, "past-", 500, await connection.fetchval("select now()"), "completed")
        await connection.execute("analyze deployment")
        await connection.execute(insert, "waiting-", 20, None, None)
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        [admitted] = await stand.admit(limit=1)
        assert await pool.fetchval("select queue_position from place_in_queue('waiting-9999')") > 1000
        seconds.append(time.perf_counter() - began)
        await stand.end_and_free(admitted)
    assert sorted(seconds)[5] < 0.1


# Pauses


async def test_a_pause_of_everyone_stops_admission_and_a_resume_wakes_intake(stand):
    stand.pipeline.start(only={"intake"})
    paused = (await stand.switch("pause")).json()["paused"]
    assert [(pause["organizationId"], pause["pausedBy"]) for pause in paused] == [(None, "operator")]
    assert paused[0]["pausedAt"].endswith("Z")
    deployment_id = await stand.deploy("org")
    assert await stand.admit() == []
    body = await stand.status(deployment_id)
    assert (body["queuePosition"], body["queuePaused"]) == (1, True)
    assert "estimatedStartSeconds" not in body
    began = time.monotonic()
    assert (await stand.switch("resume")).json()["paused"] == []

    async def is_admitted() -> bool:
        return bool(await stand.admitted())

    await until(is_admitted)
    assert time.monotonic() - began < 2.5
    assert "queuePaused" not in await stand.status(deployment_id)


async def test_a_paused_organisation_holds_up_nobody_and_counts_for_nobody(stand):
    await stand.switch("pause", "one")
    first, second = await stand.deploy("one"), await stand.deploy("two")
    assert [(await stand.status(id))["queuePosition"] for id in (first, second)] == [1, 1]
    assert ["queuePaused" in await stand.status(id) for id in (first, second)] == [True, False]
    assert await stand.admit() == [second]
    await stand.switch("resume")
    assert await stand.admit() == []
    await stand.switch("resume", "one")
    assert await stand.admit() == [first]


async def test_a_token_of_one_organisation_pauses_its_own_only(stand):
    own = await stand.token("acme", "admin")
    assert (await stand.switch("pause", None, own)).status_code == 403
    assert (await stand.switch("pause", "other", own)).status_code == 403
    assert (await stand.switch("pause", "acme", await stand.token("acme", "deploy"))).status_code == 403
    assert (await stand.switch("pause", "acme", own)).status_code == 200
    await stand.switch("pause", "other")
    seen = await stand.client.get("/status/queue", headers={"authorization": f"Bearer {own}"})
    assert [pause["organizationId"] for pause in seen.json()["paused"]] == ["acme"]
    assert (await stand.switch("resume", "other", own)).status_code == 403
    assert (await stand.switch("resume", "acme", own)).json()["paused"] == []


# Looking at the queue


async def test_the_queue_shows_who_waits_what_is_queued_and_what_was_mended(stand):
    ids = [await stand.deploy("org") for _ in range(5)]
    await stand.admit()
    await stand.resources.deployments.count_repairs("end_overdue", 2)

    async def intake_is_told() -> bool:
        actors = (await stand.client.get("/status/queue")).json()["actors"]
        return bool(actors["intake"]["pending"] == len(ids))

    await until(intake_is_told)
    body = (await stand.client.get("/status/queue")).json()
    assert 0 <= body["actors"]["intake"]["oldestAgeSeconds"] < 60
    assert "oldestAgeSeconds" not in body["actors"]["build"]
    [row] = body["waiting"]
    assert row.pop("oldestAgeSeconds") >= 0
    assert row == {"organizationId": "org", "waiting": 2, "running": 3, "limit": 3}
    assert body["repairs"]["end_overdue"]["count"] == 2
    assert body["repairs"]["end_overdue"]["lastAt"].endswith("Z")
    assert body["configuration"]["maxConcurrentPerOrganization"] == 3
    assert body["configuration"]["maxWaitingPerOrganization"] == 25


async def test_the_command_line_shows_pauses_and_resumes_the_queue(stand, monkeypatch):
    monkeypatch.setenv("ZEPID_URL", str(stand.client.base_url))
    monkeypatch.setenv("ZEPID_TOKEN", stand.client.headers["authorization"].removeprefix("Bearer "))
    cli.add_extensions()

    async def run(*command: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, cli.app, command)
        assert result.exit_code == 0, result.output
        return result.output

    for _ in range(4):
        await stand.deploy("acme")
    await stand.admit()
    paused = "Paused: acme, by operator at "
    assert paused in await run("pause", "--org", "acme")
    shown = await run("queue")
    assert "Running: 3 of 5." in shown
    assert paused in shown
    assert any(line.split()[:5] == ["acme", "1", "3", "of", "3"] for line in shown.splitlines())
    assert msgspec.json.decode(await run("queue", "--json"))["waiting"][0]["waiting"] == 1
    assert await run("resume", "--org", "acme") == "Nothing is paused.\n"
    assert "Paused: everyone, by operator at " in await run("pause")
    assert await run("resume") == "Nothing is paused.\n"
    monkeypatch.setenv("ZEPID_TOKEN", await stand.token("acme", "admin"))
    assert "Paused: acme, by " in await run("pause")
    assert await run("resume") == "Nothing is paused.\n"


# Deadlines


async def test_what_waits_for_longer_than_allowed_ends(nats_server, database_url, tmp_path):
    async with standing(nats_server, database_url, tmp_path, max_waiting_time=60_000) as stand:
        old, young = await stand.deploy("org"), await stand.deploy("org")
        await stand.switch("pause")
        await stand.resources.pool.execute(
            "update deployment set accepted_at = accepted_at - interval '61 s' where id = $1", old
        )
        assert await end_overdue(stand.resources) == [old]
        decision = await stand.resources.deployments.end(old, "completed")
        assert (decision.decided, decision.outcome) == (False, "failed")
        assert decision.failure is not None
        assert decision.failure.code == "DEPLOYMENT_TIMEOUT"
        assert "MAX_WAITING_TIME" in decision.failure.message
        assert (await stand.status(young))["queuePosition"] == 1
        assert (await stand.post((await stand.projects("org", 1))[0], "org")).status_code == 200
