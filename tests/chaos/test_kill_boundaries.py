"""kill -9 at every boundary of every step and inside each: the work resumes, and what was done is not done again."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from infra.dev.child import Child
from services.cli.scan import scan
from shared.adapters.jetstream.bus import Bus, decode_event
from shared.client import Client
from shared.client.answers import Project
from shared.contracts import subjects
from shared.contracts.events import Ended, Succeeded
from shared.contracts.messages import DeadLetter
from shared.pipeline import BY_NAME, MAX_INTERRUPTIONS, STEPS
from tests.chaos.killer import (
    ACK_WAIT,
    ANNOUNCED,
    DECIDED,
    NOOP,
    PLAN,
    PUBLISHED,
    WORKED,
    WORKING,
    Case,
    Plan,
    shorten_ack_wait,
)
from tests.e2e.apps import write
from tests.live import LiveStack
from tests.pipeline import Pipeline, pipeline, settings_for

RESUMED_SECONDS = 60.0
CASES = [
    Case(step.name, point)
    for step in STEPS
    for point in (WORKING, WORKED, DECIDED, ANNOUNCED, PUBLISHED)
    if not ((point == DECIDED and not step.concludes) or (point == ANNOUNCED and step.cleans_up))
]
CONCLUDING = next(step.name for step in STEPS if step.concludes)
"""Its success is the deployment's, and may be told by that alone."""
BEGUN_AGAIN = (WORKING, WORKED)
"""At these points nothing had been published, so the step is done again."""


class KillingStack(LiveStack):
    """`zepid up --processes` whose steps are killers."""

    @property
    def plan(self) -> Plan:
        return Plan(self.data_dir / "plan")

    async def _spawn(self, *command: str, capture: bool = False) -> asyncio.subprocess.Process:
        if command[0] != "up":
            return await super()._spawn(*command, capture=capture)
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.killer", *command, env=self._environ
        )


@asynccontextmanager
async def killing_stack(folder: Path) -> AsyncIterator[KillingStack]:
    limits = {f"MAX_{name}": "100" for name in ("CONCURRENT_DEPLOYMENTS", "CONCURRENT_PER_ORGANIZATION")}
    stack = KillingStack(folder, {PLAN: str(folder / "plan"), **limits}, "--processes")
    await stack.start()
    try:
        yield stack
    finally:
        await stack.stop()


def build_of(case: Case, number: int) -> dict[str, bytes]:
    """A page of its own; with a build, slow enough to be met while it works, where that is to be killed."""
    page = {"index.html": f"<p>{number}</p>".encode()}
    if case.step != "build":
        return page
    seconds = 3 if case.point == WORKING else 0
    package = b'{"name": "app", "scripts": {"build": "sleep %d && mkdir dist && cp index.html dist"}}' % seconds
    return {"package.json": package, **page}


async def prepared(client: Client, case: Case, number: int, folder: Path) -> Project:
    """Make a project with a source of its own."""
    project = await client.create_project(f"case-{number}")
    source = scan(write(build_of(case, number), folder / str(number)))
    state = await client.offer_source(project.id, source.manifest)
    for digest in state.missing:
        path = next(path for path, entry in source.manifest.files.items() if entry.digest == digest)
        await client.upload_blob(digest, (source.folder / path).read_bytes())
    if not state.snapshot_id:
        state = await client.offer_source(project.id, source.manifest)
    assert state.snapshot_id
    return project


async def follow(client: Client, deployment_id: str) -> None:
    async with aclosing(client.follow_events(deployment_id)) as events:
        async for event in events:
            assert event.name in ("status", "end")


async def successes(bus: Bus, deployment_id: str) -> Counter[str]:
    """How often the journal says of each step that it succeeded."""
    stored = await bus.history(subjects.EVENT_STREAM, subjects.events_of(deployment_id))
    events = [decode_event(message.data) for message in stored]
    concluded = {event.outcome for event in events if isinstance(event, Ended)} == {"completed"}
    said = Counter(event.actor for event in events if isinstance(event, Succeeded))
    return said | Counter({CONCLUDING: 1} if concluded else {})


async def faults(stack: KillingStack, client: Client, bus: Bus, case: Case, number: int, deployment_id: str) -> str:
    """What is not as it should be after a case, "" if all is."""
    status = await client.status(deployment_id)
    found = []
    if status.status != "completed" or status.worker_url is None or status.completed_at is None:
        return f"{status.status} {status.diagnosis}"
    resumed = datetime.fromisoformat(status.completed_at).timestamp() - stack.plan.deaths(case.step)[0]
    if resumed > RESUMED_SECONDS:
        found.append(f"ended {resumed:.1f} s after the kill")
    attempts = {step.name: status.steps[step.name].attempts for step in STEPS}
    if attempts != dict.fromkeys(BY_NAME, 1) | ({case.step: 2} if case.point in BEGUN_AGAIN else {}):
        found.append(f"attempts {attempts}")
    if (said := await successes(bus, deployment_id)) != dict.fromkeys(BY_NAME, 1):
        found.append(f"successes {dict(said)}")
    if (page := (await stack.get(status.worker_url)).text) != f"<p>{number}</p>":
        found.append(f"the site answers {page!r}")
    return "; ".join(found)


async def test_a_killed_worker_costs_no_more_than_the_step_it_was_in(tmp_path: Path) -> None:
    async with killing_stack(tmp_path / "data") as stack:
        connection = stack.connection
        async with Client(connection.url, connection.token) as client:
            projects = [await prepared(client, case, number, tmp_path) for number, case in enumerate(CASES)]
            stack.plan.write({project.id: case for project, case in zip(projects, CASES, strict=True)})
            ids = [(await client.deploy(project, connection.user_id)).deployment_id for project in projects]
            async with asyncio.timeout(120), asyncio.TaskGroup() as group:
                for deployment_id in ids:
                    group.create_task(follow(client, deployment_id))
            bus = await Bus.connect(stack.settings, "test")
            found = [
                await faults(stack, client, bus, case, number, deployment_id)
                for number, (case, deployment_id) in enumerate(zip(CASES, ids, strict=True))
            ]
            await bus.close()
    assert not any(found), "\n".join(f"{case}: {why}" for case, why in zip(CASES, found, strict=True) if why)
    assert {step.name: len(stack.plan.deaths(step.name)) for step in STEPS} == dict.fromkeys(BY_NAME, 1)


@asynccontextmanager
async def kept_running(step: str, environ: dict[str, str], log: Path) -> AsyncIterator[None]:
    """A killer's worker of a step, started again whenever it dies."""
    command = [sys.executable, "-m", "tests.chaos.killer", step]
    children: list[Child] = []

    async def keep() -> None:
        while True:
            children.append(
                await Child.spawn(command, folder=Path.cwd(), log=log, stop_signal=signal.SIGTERM, environ=environ)
            )
            await children[-1].ended()

    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        for child in children:
            await child.stop(10)


async def test_a_build_that_kills_its_worker_three_times_is_given_up_and_harms_no_other(
    nats_server: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {ACK_WAIT: "3", NOOP: "1", PLAN: str(tmp_path / "plan")}.items():
        monkeypatch.setenv(name, value)
    shorten_ack_wait(monkeypatch.setattr)
    settings = settings_for(nats_server, database_url, tmp_path, max_concurrent_deployments=50)
    plan = Plan(tmp_path / "plan")
    async with pipeline(settings) as running:
        environ = {**os.environ, **settings.as_environ()}
        async with kept_running("build", environ, tmp_path / "logs" / "build.log"):
            running.start(only=set(running.services()) - {"build"})
            project = await running.project()
            plan.write({project: Case("build", WORKING, times=MAX_INTERRUPTIONS)})
            poison = asyncio.create_task(running.finished(await running.request(project), 60))
            others = []
            while not poison.done():
                others.append(await running.request())
                await asyncio.wait({poison}, timeout=0.3)
            ended = [await running.finished(deployment_id) for deployment_id in others]
        failed = poison.result()
        assert (failed.outcome, failed.failure and failed.failure.code) == ("failed", "WORKER_LOST")
        assert len(plan.deaths("build")) == MAX_INTERRUPTIONS
        assert failed.step("cleanup").status == "completed"
        assert await is_freed(running, failed.deployment_id)
        assert await letters(running.resources.bus, failed.deployment_id) == ["system_error"]
        assert {progress.outcome for progress in ended} == {"completed"}
        assert {progress.step("build").attempts for progress in ended} == {1}


async def is_freed(running: Pipeline, deployment_id: str) -> bool:
    freed = await running.resources.pool.fetchval("select freed_at from deployment where id = $1", deployment_id)
    return freed is not None


async def letters(bus: Bus, deployment_id: str) -> list[str]:
    """Why the build command of a deployment is among the dead letters."""
    subject = subjects.dead_letter("build", deployment_id)
    stored = await bus.history(bus.settings.deployment_dlq_name, subject)
    return [msgspec.json.decode(letter.data, type=DeadLetter).reason for letter in stored]
