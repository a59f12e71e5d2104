"""What is true before a golden exchange: each state has a name, and names what it made."""

import time
from collections.abc import Awaitable, Callable

from shared.adapters.postgres.tokens import Tokens
from shared.contracts.errors import ZepidError
from shared.contracts.events import Admitted, Ended, Event, Failed, Started, Succeeded
from shared.contracts.messages import Command, LogChunk, LogLine, Work
from shared.pipeline import STEPS
from tests.stand import Stand

Made = dict[str, str]
"""`projectId`, `deploymentId`, `orgId`, and the tokens `deploy` and `read`."""


class World:
    """One organisation of its own on a running gateway."""

    def __init__(self, stand: Stand, organization_id: str) -> None:
        self.stand = stand
        self.made: Made = {"orgId": organization_id}

    async def project(self) -> None:
        pool = self.stand.resources.pool
        for scope in ("deploy", "read"):
            _, self.made[scope] = await Tokens(pool).create(scope, [scope], self.made["orgId"], "ada")
        self.made["projectId"] = await self.project_of(self.made["orgId"])

    async def project_of(self, organization_id: str) -> str:
        project_id = f"shop-{organization_id}"
        await self.stand.resources.pool.execute(
            "insert into project (id, name, template_type, user_id, organization_id)"
            " values ($1, 'Shop', 'vite', 'ada', $2)",
            project_id,
            organization_id,
        )
        return project_id

    async def deployment(self) -> str:
        order = {"projectId": self.made["projectId"], "orgId": self.made["orgId"], "userId": "ada"}
        headers = {"authorization": f"Bearer {self.made['deploy']}"}
        answer = await self.stand.client.post("/deploy", json=order, headers=headers)
        assert answer.status_code == 200, answer.text
        self.made["deploymentId"] = str(answer.json()["deploymentId"])
        return self.made["deploymentId"]

    async def cancel(self) -> None:
        headers = {"authorization": f"Bearer {self.made['deploy']}"}
        answer = await self.stand.client.post(f"/deploy/{self.made['deploymentId']}/cancel", headers=headers)
        assert answer.status_code == 200, answer.text


async def a_project(world: World) -> None:
    await world.project()


async def a_foreign_project(world: World) -> None:
    await world.project()
    world.made["projectId"] = await world.project_of(f"other-{world.made['orgId']}")


async def an_inactive_project(world: World) -> None:
    await world.project()
    await world.stand.resources.pool.execute(
        "update project set is_active = false where id = $1", world.made["projectId"]
    )


async def waiting(world: World) -> None:
    await world.project()
    await world.deployment()


async def foreign_deployment(world: World) -> None:
    await waiting(world)
    pool = world.stand.resources.pool
    _, world.made["deploy"] = await Tokens(pool).create("eve", ["deploy"], f"other-{world.made['orgId']}", "eve")


async def building(world: World) -> None:
    await waiting(world)
    await admit(world)
    await world.stand.project_rows(*life(world.made["deploymentId"], until="build"))


async def live(world: World) -> None:
    await waiting(world)
    await admit(world)
    await world.stand.project_rows(*life(world.made["deploymentId"]))


async def failed(world: World) -> None:
    await waiting(world)
    await admit(world)
    await world.stand.project_rows(*_failed_life(world.made["deploymentId"]))


async def cancelled(world: World) -> None:
    await waiting(world)
    await world.cancel()
    failure = ZepidError("CANCELLED", "cancelled on request").failure("gateway")
    deployment_id = world.made["deploymentId"]
    ended = Ended(deployment_id=deployment_id, actor="gateway", at=time.time(), outcome="cancelled", failure=failure)
    await world.stand.project_rows(ended, *_succeeded(deployment_id, "cleanup"))


async def used_up(world: World) -> None:
    await world.project()
    await world.stand.resources.pool.execute(
        "insert into subscription_limit (id, organization_id, plan_name, plan_id, ai_nums, enhance_nums, upload_limit,"
        " deploy_limit, period_start, period_end, last_quota_refresh)"
        " values ($1, $1, 'FREE', 'free', 0, 0, 0, 0, now(), now() + interval '1 day', now())",
        world.made["orgId"],
    )


async def just_now(world: World) -> None:
    await world.project()
    for _ in range(2):
        await world.deployment()
        await world.cancel()
    await world.deployment()
    await world.cancel()


async def with_a_log(world: World) -> None:
    await waiting(world)
    for step, messages in (("validate", ("planning",)), ("build", ("one", "two"))):
        lines = tuple(LogLine(timestamp=time.time(), message=message, stream="stdout") for message in messages)
        chunk = LogChunk(deployment_id=world.made["deploymentId"], step=step, attempt=1, number=0, lines=lines)
        await world.stand.resources.bus.append_log(chunk, copy="0.0.1")


async def database_away(world: World) -> None:
    if not world.stand.resources.pool.is_closing():
        await world.project()
        _TOKENS[id(world.stand)] = dict(world.made)
        headers = {"authorization": f"Bearer {world.made['deploy']}"}
        assert (await world.stand.client.get("/whoami", headers=headers)).status_code == 200
        await world.stand.resources.pool.close()
    world.made = _TOKENS[id(world.stand)]


_TOKENS: dict[int, Made] = {}
STATES: dict[str, Callable[[World], Awaitable[None]]] = {
    "a project": a_project,
    "a project of another organisation": a_foreign_project,
    "an inactive project": an_inactive_project,
    "a deployment that waits": waiting,
    "a deployment that builds": building,
    "a deployment that is live": live,
    "a deployment that failed": failed,
    "a deployment that was cancelled": cancelled,
    "a deployment of another organisation": foreign_deployment,
    "a deployment with a log": with_a_log,
    "a plan that is used up": used_up,
    "three deployments just now": just_now,
    "the database away": database_away,
}


async def admit(world: World) -> None:
    """What intake and the projector write of a deployment that reached its build."""
    pool = world.stand.resources.pool
    await pool.execute("update deployment set admitted_at = now() where id = $1", world.made["deploymentId"])
    await pool.execute("update project set deployment_status = 'deploying' where id = $1", world.made["projectId"])


def life(deployment_id: str, until: str = "") -> list[Event]:
    events: list[Event] = [_admitted(deployment_id)]
    for step in STEPS:
        if step.name == until:
            return [*events, Started(deployment_id=deployment_id, actor=step.name, at=time.time(), attempt=1)]
        if step.cleans_up:
            url = "http://shop.localhost:3080"
            events.append(
                Ended(deployment_id=deployment_id, actor="deploy", at=time.time(), outcome="completed", url=url)
            )
        events += _succeeded(deployment_id, step.name)
    return events


def _failed_life(deployment_id: str) -> list[Event]:
    message = "src/App.tsx:3: Type 'string' is not assignable to type 'number'."
    error = ZepidError("BUILD_TYPE_ERROR", message, excerpt="error TS2322", file="src/App.tsx", line=3)
    failure, now = error.failure("build"), time.time()
    return [
        *life(deployment_id, until="build"),
        Failed(deployment_id=deployment_id, actor="build", at=now, attempt=1, started_at=now, failure=failure),
        Ended(deployment_id=deployment_id, actor="build", at=now, outcome="failed", failure=failure),
        *_succeeded(deployment_id, "cleanup"),
    ]


def _admitted(deployment_id: str) -> Event:
    command = Command(
        deployment_id=deployment_id, project_id="p", organization_id="acme", step="validate", deadline=0,
        work=Work(source=""),
    )  # fmt: skip
    return Admitted(deployment_id=deployment_id, actor="intake", at=time.time(), next=command)


def _succeeded(deployment_id: str, step: str) -> list[Event]:
    now = time.time()
    return [Succeeded(deployment_id=deployment_id, actor=step, at=now + 1, attempt=1, started_at=now)]
