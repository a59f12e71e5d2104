"""Keys, limits and quota of `POST /deploy`, over a real server and database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from infra.dev.nats import NatsServer
from services.cli.quota_view import show_quota
from services.reconciler.upkeep import forget_keys
from shared.adapters.postgres.tokens import Tokens
from shared.client import Client
from shared.contracts.errors import ZepidError
from shared.resources import Resources, open_resources
from shared.settings import Settings
from tests.stand import serving

ORGANIZATION = "acme"
KEY = {"Idempotency-Key": "once"}
Open = Callable[..., AbstractAsyncContextManager["Stand"]]


class Stand:
    """Two gateways on one database, and callers of the first."""

    def __init__(self, resources: Resources, client: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
        self.resources = resources
        self.client = client
        self.other = other

    async def project(self, organization_id: str = ORGANIZATION) -> str:
        project_id = f"p-{uuid4().hex[:12]}"
        await self.resources.pool.execute(
            "insert into project (id, name, template_type, user_id, organization_id) values ($1, $1, 'vite', 'u', $2)",
            project_id,
            organization_id,
        )
        return project_id

    async def order(self, project_id: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        body = {"projectId": project_id, "orgId": ORGANIZATION, "userId": "ada", **more}
        return await self.client.post("/deploy", json=body, headers=headers)

    async def accepted(self, project_id: str, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
        answer = await self.order(project_id, headers, **more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def end(self, deployment_id: str, outcome: str = "cancelled", code: str = "CANCELLED") -> None:
        """Decide the outcome as the pipeline does; what was never admitted is free at once."""
        failure = None if outcome == "completed" else ZepidError(code, "on purpose").failure("build")
        await self.resources.deployments.end(deployment_id, outcome, failure)

    async def deployed(self, project_id: str, **more: Any) -> str:
        """A deployment that was accepted and has ended."""
        deployment_id = str((await self.accepted(project_id, **more))["deploymentId"])
        await self.end(deployment_id)
        return deployment_id

    async def plan(self, plan_id: str, units: int, name: str = "PRO", **columns: Any) -> None:
        columns = {"billing_interval": "month", "period_days": 30, "started_days_ago": 1, **columns}
        await self.resources.pool.execute(
            "insert into subscription_limit (id, organization_id, plan_name, plan_id, ai_nums, enhance_nums,"
            " upload_limit, deploy_limit, billing_interval, period_start, period_end)"
            " values ($1, $2, $3, $1, 0, 0, 0, $4, $5, now() - make_interval(days => $6),"
            " now() + make_interval(days => $7))",
            plan_id, ORGANIZATION, name, units, columns["billing_interval"], columns["started_days_ago"],
            columns["period_days"],
        )  # fmt: skip

    async def left(self, plan_id: str) -> int:
        query = "select deploy_limit from subscription_limit where id = $1"
        return int(await self.resources.pool.fetchval(query, plan_id))

    async def count(self, condition: str = "true") -> int:
        return int(await self.resources.pool.fetchval(f"select count(*) from deployment where {condition}"))

    async def execute(self, statement: str, *values: object) -> None:
        await self.resources.pool.execute(statement, *values)


@pytest.fixture
def opened(nats_server: str, database_url: str, tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Stand]:
        made = Settings(
            nats_url=nats_server, postgres_url=database_url, object_store_url=f"file://{tmp_path}/objects", **settings
        )
        async with open_resources(made, "test") as resources:
            _, token = await Tokens(resources.pool).create("test", ["deploy"], ORGANIZATION, "ada")
            async with serving(resources) as (_, url), serving(resources) as (_, other_url):
                headers = {"authorization": f"Bearer {token}"}
                async with (
                    httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
                    httpx.AsyncClient(base_url=other_url, headers=headers, timeout=30) as other,
                ):
                    yield Stand(resources, client, other)

    return opened


async def at_once(*work: Awaitable[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in await asyncio.gather(*work))


# The same request twice


async def test_a_repeated_request_gets_the_first_answer_to_the_letter_whatever_happened_since(opened: Open) -> None:
    async with opened() as on:
        project_id = await on.project()
        first = await on.order(project_id, KEY, priority=7)
        spelled = f'{{"userId":"ada",  "priority":7, "orgId":"{ORGANIZATION}", "projectId":"{project_id}"}}'
        headers = {**KEY, "content-type": "application/json"}
        while_it_waits = await on.other.post("/deploy", content=spelled, headers=headers)
        await on.end(first.json()["deploymentId"])
        await on.deployed(project_id)
        after = await on.order(project_id, KEY, priority=7)
        assert (first.status_code, first.content, first.content) == (200, while_it_waits.content, after.content)
        assert await on.count() == 2


async def test_a_key_stands_for_one_body_of_one_organisation_for_a_day(opened: Open) -> None:
    async with opened() as on:
        project_id = await on.project()
        first = await on.accepted(project_id, KEY)
        other_body = await on.order(project_id, KEY, priority=6)
        assert (other_body.status_code, other_body.json()["error"]) == (422, "IDEMPOTENCY_KEY_REUSED")
        _, token = await Tokens(on.resources.pool).create("foreign", ["deploy"], "foreign", "eve")
        foreign = await on.client.post(
            "/deploy",
            json={"projectId": await on.project("foreign"), "orgId": "foreign", "userId": "eve"},
            headers={**KEY, "authorization": f"Bearer {token}"},
        )
        assert foreign.status_code == 200
        await on.execute("update idempotency set created_at = created_at - interval '25 hours'")
        await on.end(first["deploymentId"])
        assert (await on.accepted(project_id, KEY, priority=6))["deploymentId"] != first["deploymentId"]
        await forget_keys(on.resources)
        assert await on.resources.pool.fetchval("select count(*) from idempotency") == 1


async def test_a_refused_request_does_not_burn_its_key(opened: Open) -> None:
    async with opened() as on:
        project_id = await on.project()
        in_the_way = await on.accepted(project_id)
        assert (await on.order(project_id, KEY)).status_code == 409
        await on.end(in_the_way["deploymentId"])
        assert (await on.order(project_id, KEY)).status_code == 200


async def test_simultaneous_copies_of_a_request_make_one_deployment(opened: Open) -> None:
    async with opened() as on:
        project_id, rival = await on.project(), await on.project()
        answers = await asyncio.gather(*(on.order(project_id, KEY) for _ in range(20)))
        assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
        other_key = {"Idempotency-Key": "twice"}
        await on.end(answers[0].json()["deploymentId"])
        statuses = await at_once(on.order(project_id, other_key), on.order(rival, other_key))
        assert statuses == [200, 422]
        assert await on.count() == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "a b"])
async def test_a_key_that_is_none_is_a_wrong_field(opened: Open, key: str) -> None:
    async with opened() as on:
        answer = await on.order(await on.project(), {"Idempotency-Key": key})
        assert (answer.status_code, list(answer.json()["details"]["fieldErrors"])) == (400, ["Idempotency-Key"])


# The rate limit


async def test_the_rate_limit_is_told_as_clients_of_the_original_know_it(opened: Open) -> None:
    async with opened() as on:
        project_id = await on.project()
        for _ in range(3):
            await on.deployed(project_id)
        refused = await on.other.post("/deploy", json={"projectId": project_id, "orgId": ORGANIZATION, "userId": "ada"})
        body = refused.json()
        assert (refused.status_code, body["success"], body["error"]) == (429, False, "Too Many Requests")
        assert body["message"] == "Deployment rate limit exceeded. Please wait before trying again."
        assert set(body) == {"success", "error", "message", "retryAfter", "timestamp", "requestId"}
        assert 50 <= body["retryAfter"] <= 60
        assert refused.headers["retry-after"] == str(body["retryAfter"])
        assert (refused.headers["x-ratelimit-limit"], refused.headers["x-ratelimit-window"]) == ("3", "60")
        await on.deployed(project_id, userId="grace")
        await on.deployed(await on.project())
        await on.execute("update deployment set accepted_at = accepted_at - interval '57 seconds'")
        soon = await on.order(project_id)
        assert soon.json()["retryAfter"] <= 3
        await on.execute("update deployment set accepted_at = accepted_at - interval '5 seconds'")
        await on.accepted(project_id)


async def test_a_conflict_is_told_before_any_limit_and_only_accepted_deployments_count(opened: Open) -> None:
    async with opened(deploy_rate_limit=2, deploy_rate_window=3600) as on:
        project_id = await on.project()
        first = await on.accepted(project_id)
        assert await at_once(*(on.order(project_id) for _ in range(5))) == [409] * 5
        await on.end(first["deploymentId"])
        second = await on.accepted(project_id)
        assert (await on.order(project_id)).status_code == 409
        assert (await on.order(project_id, supersede=True)).status_code == 429
        assert await on.count("outcome is null") == 1, "a refused request has superseded a deployment"
        for _ in range(5):
            status = await on.client.post(f"/deploy?instanceId={second['id']}")
            assert (status.status_code, status.json()["id"]) == (200, second["id"])
        await on.end(second["deploymentId"])
        assert (await on.order(project_id)).headers["x-ratelimit-window"] == "3600"
        retried = await on.client.post(f"/deploy/{second['id']}/retry")
        assert retried.status_code == 429, "a retry is a way around the limit"


async def test_the_rate_limit_holds_while_the_broker_is_away(opened: Open, nats_process: NatsServer) -> None:
    async with opened() as on:
        project_id = await on.project()
        await nats_process.stop()
        for _ in range(3):
            await on.deployed(project_id)
        assert (await on.order(project_id)).status_code == 429
        await nats_process.start()


# Quota


async def test_of_100_simultaneous_deployments_a_quota_of_60_allows_60_and_failures_give_theirs_back_once(
    opened: Open,
) -> None:
    async with opened(max_waiting_per_organization=1000) as on:
        await on.plan("plan", 60)
        projects = [await on.project() for _ in range(100)]
        answers = await asyncio.gather(*(on.order(project_id) for project_id in projects))
        assert sorted(answer.status_code for answer in answers) == [200] * 60 + [429] * 40
        refused = {answer.json()["error"] for answer in answers if answer.status_code == 429}
        assert refused == {"DEPLOYMENT_QUOTA_EXCEEDED"}
        assert (await on.left("plan"), await on.count()) == (0, 60)
        ids = [answer.json()["deploymentId"] for answer in answers if answer.status_code == 200]
        endings = {"completed": "", "failed": "BUILD_NO_OUTPUT", "cancelled": "CANCELLED"}
        rounds = [(id, outcome, endings[outcome]) for id, outcome in zip(ids, [*endings] * 20, strict=True)]
        await asyncio.gather(*(on.end(*ending) for ending in rounds * 3))
        assert await on.left("plan") == 20
        settled = "select settled, count(*) from quota_ledger group by 1 order by 1"
        assert [tuple(row) for row in await on.resources.pool.fetch(settled)] == [("committed", 40), ("returned", 20)]
        body = (await on.client.get("/status/quota")).json()
        assert (body["metered"], body["remaining"]) == (True, 20)
        assert [(plan["planId"], plan["reserved"], plan["used"]) for plan in body["plans"]] == [("plan", 0, 40)]


async def test_plans_are_used_yearly_first_then_free_then_others_and_only_those_in_force(opened: Open) -> None:
    async with opened() as on:
        await on.plan("expired", 5, period_days=-1, billing_interval="year")
        await on.plan("inactive", 5)
        await on.execute("update subscription_limit set is_active = false where id = 'inactive'")
        await on.plan("monthly", 1)
        await on.plan("free", 1, "libra free", billing_interval="year", started_days_ago=200)
        await on.plan("yearly", 1, billing_interval="year")
        taken = []
        for _ in range(3):
            deployment_id = (await on.accepted(await on.project()))["deploymentId"]
            query = "select plan from quota_ledger where deployment_id = $1"
            taken.append(await on.resources.pool.fetchval(query, deployment_id))
        assert taken == ["yearly", "free", "monthly"]
        assert (await on.order(await on.project())).json()["error"] == "DEPLOYMENT_QUOTA_EXCEEDED"


async def test_a_yearly_plan_has_its_allotment_again_every_month_and_never_more(opened: Open) -> None:
    async with opened() as on:
        await on.plan("plan", 3, billing_interval="year", started_days_ago=1, period_days=300)
        spent, returned = [(await on.accepted(await on.project()))["deploymentId"] for _ in range(2)]
        await on.end(spent, "completed")
        assert (await on.client.get("/status/quota")).json()["plans"][0]["remaining"] == 1
        await on.execute("update subscription_limit set period_start = period_start - interval '70 days'")
        await on.execute("update quota_ledger set reserved_at = reserved_at - interval '70 days'")
        state = (await on.client.get("/status/quota")).json()["plans"][0]
        assert (state["remaining"], state["used"]) == (3, 0)
        await on.accepted(await on.project())
        assert await on.left("plan") == 2
        await on.end(returned)
        assert await on.left("plan") == 2, "a unit that came back with the refresh was returned once more"
        moved = "select last_quota_refresh between now() - interval '31 days' and now() from subscription_limit"
        assert await on.resources.pool.fetchval(moved)


async def test_the_command_line_shows_what_is_left_of_each_plan(
    opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened() as on:
        token = on.client.headers["authorization"].removeprefix("Bearer ")
        async with Client(str(on.client.base_url), token) as client:
            await show_quota(client, None, as_json=False)
            assert capsys.readouterr().out == "acme has no plan, so its deployments are not counted.\n"
            await on.plan("plan", 5, billing_interval="year")
            await on.accepted(await on.project())
            await show_quota(client, None, as_json=False)
            shown = capsys.readouterr().out
            assert shown.splitlines()[1].split()[:4] == ["PRO", "4", "1", "0"]
            assert "full again" in shown
            assert "acme may deploy 4 times more" in shown
            await show_quota(client, "acme", as_json=True)
            assert msgspec.json.decode(capsys.readouterr().out)["remaining"] == 4


async def test_the_quota_of_another_organisation_is_not_told(opened: Open) -> None:
    async with opened() as on:
        assert (await on.client.get("/status/quota?orgId=foreign")).status_code == 403
        assert (await on.client.get("/status/quota")).json() == {
            "organizationId": ORGANIZATION, "metered": False, "remaining": None, "plans": [],
        }  # fmt: skip


async def test_quota_is_told_before_the_rate_limit_and_the_rate_limit_before_a_full_queue(opened: Open) -> None:
    async with opened(deploy_rate_limit=1, max_waiting_per_organization=1) as on:
        await on.plan("plan", 2)
        project_id = await on.project()
        await on.deployed(project_id)
        await on.accepted(await on.project())
        limited = await on.order(project_id)
        assert limited.json()["error"] == "Too Many Requests"
        assert await on.left("plan") == 1, "a refused request has taken a unit"
        full = await on.order(await on.project())
        assert full.json()["error"] == "QUEUE_FULL"
        await on.execute("update subscription_limit set deploy_limit = 0")
        assert (await on.order(project_id)).json()["error"] == "DEPLOYMENT_QUOTA_EXCEEDED"


# What else an order may ask for


async def test_a_deployment_may_have_a_shorter_deadline_than_the_service_never_a_longer_one(opened: Open) -> None:
    async with opened(max_deployment_timeout=60_000) as on:
        short = await on.accepted(await on.project(), config={"timeout": 5_000, "debug": True})
        long = await on.accepted(await on.project(), config={"timeout": 600_000})
        plain = await on.accepted(await on.project())
        await on.resources.deployments.admit(10, 10, on.resources.settings.deadline_seconds)
        query = "select id, round(extract(epoch from deadline - admitted_at)) as seconds, debug from deployment"
        rows = {row["id"]: (int(row["seconds"]), row["debug"]) for row in await on.resources.pool.fetch(query)}
        assert rows == {short["id"]: (5, True), long["id"]: (60, False), plain["id"]: (60, False)}


async def test_a_target_that_is_not_set_up_is_refused(opened: Open) -> None:
    async with opened() as on:
        for target in ("cloudflare", "moon"):
            answer = await on.order(await on.project(), target=target)
            assert (answer.status_code, list(answer.json()["details"]["fieldErrors"])) == (400, ["target"])
