"""What an operator sees with the `nats` command while deployments run and after they failed."""

import asyncio
import os
import pty
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from shared.pipeline import ACTORS
from tests.e2e.apps import write
from tests.live import LiveStack, live_stack
from tests.waiting import until

NATS = shutil.which("nats")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        NATS is None,
        reason="the nats command is not on PATH: `go install github.com/nats-io/natscli/nats@v0.5.0` brings it",
    ),
]
SLOW = {
    "package.json": b'{"name": "slow", "scripts": {"build": "sleep 6 && mkdir dist && cp index.html dist"}}',
    "index.html": b"<p>slow</p>",
}
BROKEN = {"package.json": b'{"name": "broken", "scripts": {"build": "exit 3"}}'}


class Operator:
    """Someone at a terminal, who has said `eval "$(zepid addresses)"`."""

    def __init__(self, stack: LiveStack, environ: dict[str, str]) -> None:
        self.stack = stack
        self._environ = environ

    async def nats(self, *words: str) -> str:
        """What `nats` prints."""
        assert NATS is not None
        process = await asyncio.create_subprocess_exec(
            NATS, *words, env=self._environ, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, output
        return output.decode()

    async def view(self, *words: str, until_shown: str) -> str:
        """What `nats stream view` shows on a terminal, up to a text."""
        assert NATS is not None
        mine, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            NATS, "stream", "view", *words, env=self._environ, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        shown = ""
        try:
            async with asyncio.timeout(20):
                while until_shown not in shown:
                    shown += (await asyncio.to_thread(os.read, mine, 65536)).decode()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            os.close(mine)
        return shown


async def addresses(stack: LiveStack) -> dict[str, str]:
    """What `eval "$(zepid addresses)"` sets."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "addresses", "--data-dir", str(stack.data_dir),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await process.communicate()
    return dict(re.findall(r"^export (\w+)='?(.*?)'?$", printed.decode(), re.MULTILINE))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Operator]:
    async with live_stack(tmp_path_factory.mktemp("operated")) as stack:
        nats_url = (await addresses(stack))["NATS_URL"]
        own = {"NATS_URL": nats_url, "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("home")), "TERM": "dumb"}
        yield Operator(stack, {**os.environ, **own})


def table(printed: str) -> dict[str, list[str]]:
    """The rows of a printed table by their first cell."""
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in printed.splitlines() if "│" in line]
    return {row[0]: row[1:] for row in rows}


async def test_a_running_build_can_be_seen_in_the_queue_and_in_the_journal(operator: Operator, tmp_path: Path) -> None:
    deploying = asyncio.create_task(operator.stack.deploy(write(SLOW, tmp_path / "slow")))

    async def building() -> dict[str, list[str]] | None:
        consumers = table(await operator.nats("consumer", "report", "deployment-queue"))
        return consumers if consumers["build"][3] == "1" else None

    consumers = await until(building, 20)
    assert consumers["Consumer"][3] == "Ack Pending"
    assert set(consumers) >= set(ACTORS)
    assert {name: consumers[name][3] for name in ACTORS if name != "build"} == dict.fromkeys(
        set(ACTORS) - {"build"}, "0"
    )
    described = table(await operator.nats("consumer", "ls", "deployment-queue"))
    assert "building" in described["build"][0]
    event = await operator.nats("stream", "get", "deployment-events", "-S", "deployment.event.*.build.started")
    started = msgspec.json.decode(event[event.index("{") :])
    assert (started["kind"], started["actor"], started["attempt"]) == ("started", "build", 1)
    assert started["deploymentId"] in await operator.nats("stream", "subjects", "deployment-queue")
    assert (await deploying).exit_code == 0


async def test_the_streams_say_what_they_hold(operator: Operator) -> None:
    streams = table(await operator.nats("stream", "ls"))
    assert {name: columns[0] for name, columns in streams.items() if name.startswith("deployment-")} == {
        "deployment-queue": "Commands: what must happen",
        "deployment-events": "The journal: what happened",
        "deployment-logs": "Log chunks, until they are archived",
        "deployment-advisories": "The broker's notes on commands it gave up",
        "deployment-dlq": "Dead letters: commands that were given up, with why",
    }


async def test_the_journal_tells_why_a_deployment_failed(operator: Operator, tmp_path: Path) -> None:
    deployed = await operator.stack.deploy(write(BROKEN, tmp_path / "broken"))
    deployment_id, diagnosis = deployed.result["deploymentId"], deployed.result["diagnosis"]
    shown = await operator.view(
        "deployment-events", "25", f"--subject=deployment.event.{deployment_id}.>", until_shown="cleanup.succeeded"
    )
    kinds = re.findall(rf"Subject: deployment\.event\.{deployment_id}\.(\S+)", shown)
    assert [kind for kind in kinds if not kind.endswith(".started")] == [
        "intake.admitted", "validate.succeeded", "sandbox.succeeded", "sync.succeeded",
        "build.failed", "build.ended", "cleanup.succeeded",
    ]  # fmt: skip
    assert "traceparent: 00-" in shown
    ended = next(msgspec.json.decode(line) for line in shown.splitlines() if line.startswith('{"kind":"ended"'))
    assert list(ended)[:4] == ["kind", "deploymentId", "actor", "at"]
    assert (ended["outcome"], ended["failure"]["code"]) == ("failed", diagnosis["code"])
    assert ended["failure"]["message"] == diagnosis["message"]
