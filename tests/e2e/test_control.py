"""Cancel, supersede and retry: decided at once whatever is away, and over only when the processes are dead."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from infra.dev.data_dir import port_for
from infra.dev.nats import NatsServer
from shared.adapters.postgres.tokens import Tokens
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.contracts.outcomes import Outcome, Reject
from shared.execution import Handle
from shared.pipeline import STEPS
from shared.ports import Ports
from tests.e2e.test_life_cycle import Caller, served
from tests.e2e.test_survival import SlowBuild, gone, tree_of
from tests.live import LiveStack, live_stack
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.waiting import until

WORKING = [step.name for step in STEPS if not step.cleans_up]
WITHOUT_WORKERS = {"intake", "projector", "reconciler", "cleanup"}


class Stage:
    """Steps that wait, or fail with a code, for the projects that are told to."""

    def __init__(self) -> None:
        self.waits: dict[str, str] = {}
        self.fails: dict[str, str] = {}
        self.reached: dict[str, asyncio.Event] = {step.name: asyncio.Event() for step in STEPS}
        self.go_on = asyncio.Event()

    def around(self, step: str, handle: Handle) -> Handle:
        async def staged(command: Command, ports: Ports) -> Outcome:
            if self.waits.get(command.project_id) == step:
                self.reached[step].set()
                await self.go_on.wait()
            if step == "build" and (code := self.fails.get(command.project_id)):
                return Reject(ZepidError(code, "it broke on purpose").failure(step))
            return await handle(command, ports)

        return staged


class Stand:
    """A pipeline with its gateway, and steps that do as they are told."""

    def __init__(self, running: Pipeline, caller: Caller) -> None:
        self.running = running
        self.caller = caller
        self.stage = Stage()
        running.handlers = {step: self.stage.around(step, handle) for step, handle in running.handlers.items()}

    async def post(self, path: str, **order: object) -> httpx.Response:
        return await self.caller.client.post(path, json=order or None)

    async def order(self, project_id: str, **more: object) -> httpx.Response:
        return await self.post("/deploy", projectId=project_id, orgId="org", userId="u", **more)

    async def waiting_at(self, step: str) -> str:
        """Start a deployment that waits in a step; return its id once it does."""
        project_id = await self.running.project()
        self.stage.waits[project_id] = step
        deployment_id = await self.caller.deploy(project_id)
        await asyncio.wait_for(self.stage.reached[step].wait(), 30)
        return deployment_id

    async def status(self, deployment_id: str) -> dict[str, Any]:
        return dict((await self.caller.client.get(f"/deploy/{deployment_id}/status")).json())

    async def ended(self, deployment_id: str) -> dict[str, Any]:
        await self.running.finished(deployment_id, within=60)
        return await self.status(deployment_id)

    async def row(self, deployment_id: str) -> dict[str, Any]:
        found = await self.running.resources.pool.fetchrow("select * from deployment where id = $1", deployment_id)
        assert found is not None
        return dict(found)


@asynccontextmanager
async def stand(nats_url: str, database_url: str, folder: Path, **settings: object) -> AsyncIterator[Stand]:
    made = settings_for(nats_url, database_url, folder, port=port_for("gateway", folder, 0), **settings)
    async with pipeline(made) as running, served(running) as caller:
        yield Stand(running, caller)


async def test_a_deployment_is_cancelled_at_every_step(nats_server: str, database_url: str, tmp_path: Path) -> None:
    async with stand(nats_server, database_url, tmp_path) as on:
        on.running.start()
        ids = {step: await on.waiting_at(step) for step in WORKING}
        answers = {step: await on.post(f"/deploy/{ids[step]}/cancel") for step in WORKING}
        assert {answer.status_code for answer in answers.values()} == {200}
        body = answers["build"].json()
        assert (body["success"], body["deploymentId"], body["status"]) == (True, ids["build"], "cancelled")
        for step in WORKING:
            status = await on.ended(ids[step])
            assert (status["status"], status["diagnosis"]["code"]) == ("cancelled", "CANCELLED")
            assert (status["diagnosis"]["step"], status["steps"][step]["status"]) == (step, "failed")
            assert status["steps"]["cleanup"]["status"] == "completed"
            assert (await on.post(f"/deploy/{ids[step]}/cancel")).status_code == 200


async def test_a_deployment_is_cancelled_at_every_step_while_every_worker_is_dead(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with stand(nats_server, database_url, tmp_path) as on:
        on.running.start()
        ids = [await on.waiting_at(step) for step in WORKING]
        await on.running.stop()
        assert [(await on.post(f"/deploy/{id}/cancel")).status_code for id in ids] == [200] * len(ids)
        statuses = [await on.status(id) for id in ids]
        assert not any("completedAt" in status for status in statuses), "shown as over though nobody cleaned up"
        on.running.start(only=WITHOUT_WORKERS)
        assert [(await on.ended(id))["status"] for id in ids] == ["cancelled"] * len(ids)


async def test_a_waiting_deployment_is_cancelled_at_once_and_the_next_is_admitted_when_a_running_one_is_dead(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with stand(nats_server, database_url, tmp_path, max_concurrent_deployments=1) as on:
        on.running.start()
        first = await on.waiting_at("build")
        second = await on.caller.deploy(await on.running.project())
        third = await on.caller.deploy(await on.running.project())
        assert (await on.post(f"/deploy/{second}/cancel")).status_code == 200
        status = await on.ended(second)
        assert (status["status"], status["diagnosis"]["step"]) == ("cancelled", "gateway")
        assert {step["status"] for step in status["steps"].values()} == {"skipped"}
        assert (await on.post(f"/deploy/{first}/cancel")).status_code == 200
        assert (await on.ended(third))["status"] == "completed"
        assert (await on.row(third))["admitted_at"] >= (await on.row(first))["freed_at"]
        assert (await on.row(second))["admitted_at"] is None


async def test_cancelling_works_while_the_broker_is_away(
    nats_process: NatsServer, database_url: str, tmp_path: Path
) -> None:
    async with stand(nats_process.url, database_url, tmp_path, max_concurrent_deployments=1) as on:
        on.running.start()
        running = await on.waiting_at("sync")
        waiting = await on.caller.deploy(await on.running.project())
        await nats_process.stop()
        for deployment_id in (waiting, running):
            began = time.monotonic()
            assert (await on.post(f"/deploy/{deployment_id}/cancel")).status_code == 200
            assert (await on.post(f"/deploy/{deployment_id}/cancel")).status_code == 200
            assert time.monotonic() - began < 5
        await nats_process.start()
        assert [(await on.ended(id))["status"] for id in (running, waiting)] == ["cancelled", "cancelled"]


async def test_what_has_ended_is_not_cancelled(nats_server: str, database_url: str, tmp_path: Path) -> None:
    async with stand(nats_server, database_url, tmp_path) as on:
        on.running.start()
        completed = await on.caller.deploy(await on.running.project())
        broken = await on.running.project()
        on.stage.fails[broken] = "BUILD_NO_OUTPUT"
        failed = await on.caller.deploy(broken)
        for deployment_id, outcome in ((completed, "completed"), (failed, "failed")):
            await on.ended(deployment_id)
            answer = await on.post(f"/deploy/{deployment_id}/cancel")
            assert (answer.status_code, answer.json()["error"]) == (409, "OUTCOME_ALREADY_DECIDED")
            assert outcome in answer.json()["message"]
            assert (await on.status(deployment_id))["status"] == outcome
        assert (await on.post("/deploy/deploy_unknown/cancel")).status_code == 404


async def test_a_superseding_deployment_starts_when_the_death_of_the_old_one_is_proven(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with stand(nats_server, database_url, tmp_path) as on:
        on.running.start(only={step.name for step in STEPS if not step.cleans_up} | {"intake", "projector"})
        first = await on.waiting_at("build")
        project_id = (await on.row(first))["project_id"]
        on.stage.waits.clear()
        second = (await on.order(project_id, supersede=True)).json()
        third = (await on.order(project_id, supersede=True)).json()
        assert (second["supersededId"], third["supersededId"]) == (first, second["deploymentId"])
        refused = await on.order(project_id)
        assert (refused.status_code, refused.json()["deploymentId"]) == (409, third["deploymentId"])
        status = await on.ended(second["deploymentId"])
        assert status["diagnosis"]["message"] == f"superseded by deployment {third['deploymentId']}"
        other = await on.caller.deploy(await on.running.project())
        await until(lambda: admitted(on, other))
        assert (await on.status(third["deploymentId"]))["status"] == "pending"
        await on.running.stop()
        on.running.start()
        assert (await on.ended(third["deploymentId"]))["status"] == "completed"
        status = await on.ended(first)
        assert status["status"] == "cancelled"
        assert status["diagnosis"]["message"] == f"superseded by deployment {second['deploymentId']}"
        rows = [await on.row(id) for id in (first, second["deploymentId"], third["deploymentId"])]
        assert rows[1]["admitted_at"] is None
        assert rows[2]["admitted_at"] >= rows[0]["freed_at"]


async def admitted(on: Stand, deployment_id: str) -> bool:
    return (await on.row(deployment_id))["admitted_at"] is not None


async def test_a_retry_deploys_the_snapshot_that_the_old_one_was_made_from(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with stand(nats_server, database_url, tmp_path) as on:
        on.running.start()
        project_id = await on.caller.project("shop")
        await on.caller.upload(project_id, {"index.html": b"old"})
        first = await on.caller.deploy(project_id)
        await on.ended(first)
        await on.caller.upload(project_id, {"index.html": b"new"})
        retried = (await on.post(f"/deploy/{first}/retry")).json()
        assert (retried["retryOf"], retried["status"]) == (first, "queued")
        status = await on.ended(retried["deploymentId"])
        assert (status["status"], status["retryOf"]) == ("completed", first)
        assert (await on.row(retried["deploymentId"]))["source"] == (await on.row(first))["source"] != ""
        running = await on.waiting_at("build")
        refused = await on.post(f"/deploy/{running}/retry")
        assert (refused.status_code, refused.json()["deploymentId"]) == (409, running)
        assert (await on.post("/deploy/deploy_unknown/retry")).status_code == 404


async def test_quota_comes_back_unless_the_deployment_went_live_or_its_author_broke_it(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with stand(nats_server, database_url, tmp_path) as on:
        pool = on.running.resources.pool
        await pool.execute(
            "insert into subscription_limit (id, organization_id, plan_name, plan_id, ai_nums, enhance_nums,"
            " upload_limit, deploy_limit, period_start, period_end)"
            " values ('plan', 'org', 'FREE', 'free', 0, 0, 0, 3, now(), now() + interval '1 day')"
        )
        on.running.start()
        spent = {}
        for code, expected in ((None, "committed"), ("BUILD_NO_OUTPUT", "committed"), ("INTERNAL_ERROR", "returned")):
            project_id = await on.running.project()
            on.stage.fails |= {project_id: code} if code else {}
            deployment_id = await on.caller.deploy(project_id)
            await on.ended(deployment_id)
            spent[deployment_id] = expected
        cancelled = await on.waiting_at("build")
        assert await left(on) == 0
        refused = await on.order(await on.running.project())
        assert (refused.status_code, refused.json()["error"]) == (429, "DEPLOYMENT_QUOTA_EXCEEDED")
        assert (await on.order((await on.row(cancelled))["project_id"])).status_code == 409
        await on.post(f"/deploy/{cancelled}/cancel")
        await on.post(f"/deploy/{cancelled}/cancel")
        await on.ended(cancelled)
        spent[cancelled] = "returned"
        assert {row["deployment_id"]: row["settled"] for row in await pool.fetch("select * from quota_ledger")} == spent
        assert await left(on) == 1


async def left(on: Stand) -> int:
    return int(await on.running.resources.pool.fetchval("select deploy_limit from subscription_limit"))


async def test_a_full_queue_is_told_with_the_time_to_wait_and_after_the_conflict(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    limits = {"max_concurrent_deployments": 1, "max_waiting_per_organization": 1}
    async with stand(nats_server, database_url, tmp_path, **limits) as on:
        on.running.start()
        await on.waiting_at("build")
        project_id = await on.running.project()
        waiting = await on.caller.deploy(project_id)
        full = await on.order(await on.running.project())
        assert (full.status_code, full.json()["error"]) == (429, "QUEUE_FULL")
        assert int(full.headers["Retry-After"]) == full.json()["retryAfter"] > 0
        assert (await on.order(project_id)).status_code == 409
        replaced = await on.order(project_id, supersede=True)
        assert (replaced.status_code, replaced.json()["supersededId"]) == (200, waiting)


async def test_metrics_are_for_operators_and_tell_what_waits_and_what_was_repaired(
    nats_server: str, database_url: str, tmp_path: Path
) -> None:
    async with stand(nats_server, database_url, tmp_path) as on:
        await on.running.resources.deployments.count_repairs("finish_ended", 2)
        await on.caller.deploy(await on.running.project())
        lines = (await on.caller.client.get("/metrics")).text.splitlines()
        assert {
            'zepid_deployments{state="waiting"} 1',
            'zepid_deployments{state="running"} 0',
            'zepid_repairs_total{repair="finish_ended"} 2',
            "zepid_dead_letters 0",
            'zepid_queue_pending{actor="build"} 0',
            "zepid_projection_lag_events 0",
            "zepid_broker_up 1",
        } <= set(lines)
        _, token = await Tokens(on.running.resources.pool).create("less", ["deploy"], "org", "u")
        refused = await on.caller.client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
        assert refused.status_code == 403


async def test_the_command_line_kills_a_real_build_and_deploys_it_again(tmp_path: Path) -> None:
    app = SlowBuild(tmp_path, seconds=60)
    async with live_stack(tmp_path / "data") as stack:
        deploying = asyncio.create_task(stack.deploy(app.folder))
        build = [process for found in await app.running() for process in tree_of(found.pid)]
        deployment_id = (await stack.get("/status/deployments")).json()["deployments"][0]["deploymentId"]
        cancelling = asyncio.create_task(zepid(stack, "cancel", deployment_id))
        await gone(build, within=15)
        code, cancelled = await cancelling
        assert (code, cancelled["status"], cancelled["diagnosis"]["step"]) == (0, "cancelled", "build")
        deployed = await deploying
        assert (deployed.exit_code, deployed.result["status"]) == (1, "cancelled")
        assert (await zepid(stack, "retry", "deploy_unknown"))[0] == 3
        code, retried = await zepid(stack, "retry", deployment_id, "--no-follow")
        assert (code, retried["retryOf"]) == (0, deployment_id)
        build = await app.running()
        assert (await zepid(stack, "cancel", retried["deploymentId"], "--no-wait"))[0] == 0
        await gone(build, within=15)


async def zepid(stack: LiveStack, *command: str) -> tuple[int | None, dict[str, Any]]:
    """Run a command with `--json`; return its exit code and the last line that it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", *command, "--json",
        "--url", stack.connection.url, "--token", stack.connection.token, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, msgspec.json.decode(output.splitlines()[-1]) if output else {}
