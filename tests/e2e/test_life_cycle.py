"""What callers see while a deployment runs: progress never goes back, and `completed` means seen live."""

import asyncio
import io
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from infra.dev.data_dir import port_for
from services.gateway import create as create_gateway
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.tokens import Tokens
from shared.client.sse import parse
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.contracts.outcomes import Back, Done, Outcome, Reject, Retry
from shared.pipeline import STEPS
from shared.ports import Ports
from tests.live import LiveStack, live_stack
from tests.pipeline import Pipeline, pipeline, rows, settings_for
from tests.waiting import until

TERMINAL = ("completed", "failed", "cancelled")
BUILT = b'{"name": "live", "scripts": {"build": "mkdir dist && cp index.html dist"}}'
ORDER = ["pending", *(step.status for step in STEPS)]


def place(state: tuple[str, int]) -> tuple[int, int]:
    """How far a deployment is in a state of (status, progress)."""
    status, progress = state
    return progress, ORDER.index(status) if status in ORDER else len(ORDER)


@dataclass
class Watched:
    """Every (status, progress) that one way of watching showed, changes only."""

    seen: list[tuple[str, int]] = field(default_factory=list)
    ends: int = 0

    def note(self, body: dict[str, Any]) -> str:
        state = (body["status"], body["progress"])
        if not self.seen or self.seen[-1] != state:
            self.seen.append(state)
        return state[0]

    def check(self, final: str, progress: int, back_to: str | None = None) -> None:
        statuses = [status for status, _ in self.seen]
        assert [status for status in statuses if status in TERMINAL] == [final]
        assert self.seen[-1] == (final, progress)
        shown = [progress for _, progress in self.seen]
        assert shown == sorted(shown), self.seen
        places = [ORDER.index(status) for status in statuses[:-1]]
        went_back = [ORDER[after] for before, after in pairwise(places) if after < before]
        assert went_back in ([], [back_to]), self.seen


class Caller:
    """A client of one gateway."""

    def __init__(self, client: httpx.AsyncClient, organization_id: str) -> None:
        self.client = client
        self._organization_id = organization_id

    async def deploy(self, project_id: str) -> str:
        order = {"projectId": project_id, "orgId": self._organization_id, "userId": "u"}
        answer = await self.client.post("/deploy", json=order)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["deploymentId"])

    async def project(self, name: str) -> str:
        return str((await self.client.post("/projects", json={"name": name})).json()["project"]["id"])

    async def upload(self, project_id: str, files: dict[str, bytes]) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for path, data in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        answer = await self.client.put(f"/projects/{project_id}/source", content=packed.getvalue())
        assert answer.is_success, answer.text

    async def follow(self, deployment_id: str) -> Watched:
        """Watch by server-sent events until the stream closes by itself."""
        watched = Watched()
        async with self.client.stream("GET", f"/deploy/{deployment_id}/events") as answer:
            async for event in parse(answer.aiter_bytes()):
                if event.name in ("status", "end"):
                    watched.note(msgspec.json.decode(event.data))
                    watched.ends += event.name == "end"
        return watched

    async def poll(self, deployment_id: str) -> Watched:
        """Watch by asking for the status again and again."""
        watched = Watched()

        async def over() -> bool:
            answer = await self.client.get(f"/deploy/{deployment_id}/status")
            return watched.note(answer.json()) in TERMINAL

        await until(over, 60)
        return watched

    async def watch(self, deployment_id: str, final: str, progress: int, back_to: str | None = None) -> None:
        """Watch in both ways to the end; either must keep to the rules."""
        followed, polled = await asyncio.gather(self.follow(deployment_id), self.poll(deployment_id))
        followed.check(final, progress, back_to)
        polled.check(final, progress, back_to)
        assert followed.ends == 1
        # The stream may have been opened a moment later, and begins with what is true then.
        missed = [state for state in polled.seen if state not in followed.seen]
        assert all(place(state) < place(followed.seen[0]) for state in missed), (polled.seen, followed.seen)


@asynccontextmanager
async def served(running: Pipeline) -> AsyncIterator[Caller]:
    """A gateway in front of a pipeline of this process."""
    stopping = asyncio.Event()
    gateway = asyncio.create_task(create_gateway(running.resources).run(stopping))
    _, token = await Tokens(running.resources.pool).create("test", ["admin"], "org", "u")
    url = f"http://127.0.0.1:{running.resources.settings.port}"
    try:
        async with httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30
        ) as client:

            async def answers() -> bool:
                try:
                    return (await client.get("/health/live")).is_success
                except httpx.TransportError:
                    return False

            await until(answers)
            yield Caller(client, "org")
    finally:
        stopping.set()
        await gateway


def failure(code: str, step: str):
    return ZepidError(code, "it broke on purpose").failure(step)


async def noticeable(command: Command, ports: Ports) -> Outcome:
    await asyncio.sleep(0.05)
    return Done(command.work)


async def retried(command: Command, ports: Ports) -> Outcome:
    await asyncio.sleep(0.05)
    return Done(command.work) if ports.attempt == 3 else Retry(failure("STORAGE_READ_FAILED", "sync"))


async def lost_once(command: Command, ports: Ports) -> Outcome:
    await asyncio.sleep(0.05)
    return Done(command.work) if command.epoch else Back("sandbox", failure("SANDBOX_CONNECT_FAILED", "build"))


async def rejected(command: Command, ports: Ports) -> Outcome:
    await asyncio.sleep(0.05)
    return Reject(failure("BUILD_NO_OUTPUT", "build"))


@pytest.mark.parametrize(
    ("step", "handler", "final", "progress", "back_to"),
    [
        ("sync", noticeable, "completed", 100, None),
        ("sync", retried, "completed", 100, None),
        ("build", lost_once, "completed", 100, "creating_sandbox"),
        ("build", rejected, "failed", 45, None),
    ],
)
async def test_progress_never_goes_back_and_there_is_one_end(
    step, handler, final, progress, back_to, nats_server: str, database_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("shared.settlement.backoff_seconds", lambda delivery: 0.2)
    settings = settings_for(nats_server, database_url, tmp_path, port=port_for("gateway", tmp_path, 0))
    async with pipeline(settings) as running, served(running) as caller:
        running.handlers |= dict.fromkeys(("validate", "sandbox", "deploy"), noticeable) | {step: handler}
        running.start()
        deployment_id = await caller.deploy(await running.project())
        await caller.watch(deployment_id, final, progress, back_to)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveStack]:
    async with live_stack(tmp_path_factory.mktemp("live")) as stack:
        yield stack


@pytest.mark.asyncio(loop_scope="module")
async def test_completed_is_said_only_when_the_site_answers_with_the_release(live: LiveStack) -> None:
    async with calling(live) as caller:
        project_id = await caller.project("live")
        for page in (b"<p>first</p>", b"<p>second</p>"):
            await caller.upload(project_id, {"package.json": BUILT, "index.html": page})
            deployment_id = await caller.deploy(project_id)
            release = asyncio.create_task(release_when_completed(caller, live, deployment_id))
            await caller.watch(deployment_id, "completed", 100)
            assert await release == "rel_" + deployment_id.removeprefix("deploy_")


@pytest.mark.asyncio(loop_scope="module")
async def test_the_rebuild_command_gives_the_same_rows_on_a_running_stack(live: LiveStack) -> None:
    async with calling(live) as caller:
        project_id = await caller.project("rebuilt")
        await caller.upload(project_id, {"index.html": b"<p>static</p>"})
        await caller.poll(await caller.deploy(project_id))
    pool = await open_pool(live.settings.postgres_url, size=1)
    tables = ("deployment_progress", "deployment_step")
    try:
        before = {table: await rows(pool, table) for table in tables}
        await pool.execute("update deployment_progress set progress = 1, stage = 'sync'")
        await pool.execute("update deployment_step set attempts = 77")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cli", "projector", "rebuild", "--data-dir", str(live.data_dir)
        )
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert {table: await rows(pool, table) for table in tables} == before
    finally:
        await pool.close()


@asynccontextmanager
async def calling(stack: LiveStack) -> AsyncIterator[Caller]:
    connection = stack.connection
    headers = {"Authorization": f"Bearer {connection.token}"}
    async with httpx.AsyncClient(base_url=connection.url, headers=headers, trust_env=False, timeout=30) as client:
        yield Caller(client, connection.organization_id)


async def release_when_completed(caller: Caller, stack: LiveStack, deployment_id: str) -> str:
    """The release that the edge serves at the moment in which `completed` is told."""
    async with caller.client.stream("GET", f"/deploy/{deployment_id}/events") as answer:
        async for event in parse(answer.aiter_bytes()):
            body = msgspec.json.decode(event.data) if event.data else {}
            if body.get("status") == "completed":
                return str((await stack.get(body["workerUrl"])).headers["x-zepid-release"])
    raise AssertionError("it was never completed")
