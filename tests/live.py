"""`zepid up` and `zepid deploy` as people run them: real processes on free ports, for tests."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from infra.dev.data_dir import port_for
from services.cli.connection import Connection, read_connection
from services.cli.running import settings_of_running
from shared.settings import Settings
from tests.waiting import until

READY_SECONDS = 60.0
DEPLOY_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """What `zepid deploy --json` printed, and its exit code."""

    exit_code: int
    lines: list[dict[str, Any]]

    @property
    def result(self) -> dict[str, Any]:
        return self.lines[-1]

    @property
    def log(self) -> list[str]:
        return [line["message"] for line in self.lines if line["type"] == "log"]


class LiveStack:
    """A running `zepid up`."""

    def __init__(self, data_dir: Path, environ: Mapping[str, str], *options: str) -> None:
        self.data_dir = data_dir
        self._environ = {
            **os.environ,
            "XDG_STATE_HOME": str(data_dir / "state"),
            "DEPLOY_RATE_LIMIT": "1000",
            **environ,
        }
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, on the ports of the last start, and return when the API and the edge answer."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        ports = [str(port_for(name, self.data_dir, 0)) for name in ("gateway", "edge")]
        self._process = await self._spawn(
            "up", "--data-dir", str(self.data_dir), "--port", ports[0], "--edge-port", ports[1], *self._options
        )
        await until(self._is_ready, READY_SECONDS)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def connection(self) -> Connection:
        connection = read_connection(self.data_dir)
        assert connection is not None
        return connection

    @property
    def settings(self) -> Settings:
        return settings_of_running(self.data_dir)

    def pid_of(self, service: str) -> int:
        """The process of a service (with `--processes`)."""
        return int((self.data_dir / "pids" / service).read_text())

    async def kill(self) -> None:
        """`kill -9`; nothing is told."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, as Ctrl-C does."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(self._process.wait(), 30)

    async def deploy(self, folder: Path, *options: str) -> Deployed:
        """Deploy a folder with the command line."""
        process = await self._spawn("deploy", str(folder), "--json", *options, capture=True)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), DEPLOY_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        return Deployed(process.returncode, [msgspec.json.decode(line) for line in output.splitlines()])

    async def get(self, url: str, **headers: str) -> httpx.Response:
        """Ask the edge for an address of a site, or the API for a path (with the token)."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            if url.startswith("/"):
                headers["Authorization"] = f"Bearer {self.connection.token}"
                return await client.get(self.connection.url + url, headers=headers)
            address = httpx.URL(url)
            direct = address.copy_with(host="127.0.0.1")
            return await client.get(direct, headers={"Host": address.netloc.decode(), **headers})

    async def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, "zepid up ended: see the output of the test"
        if not (self.data_dir / "settings.json").exists():
            return False
        with suppress(httpx.TransportError, AssertionError):
            edge = await self.get(f"http://{self.settings.edge_address}/_edge/health")
            return edge.is_success and (await self.get("/health/ready")).is_success
        return False

    async def _spawn(self, *command: str, capture: bool = False) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.cli",
            *command,
            env={**self._environ, **({} if command[0] == "up" else self._client_environ())},
            stdout=asyncio.subprocess.PIPE if capture else None,
        )

    def _client_environ(self) -> dict[str, str]:
        return {"ZEPID_URL": self.connection.url, "ZEPID_TOKEN": self.connection.token}


@asynccontextmanager
async def live_stack(
    data_dir: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[LiveStack]:
    """Run `zepid up` with options for the length of a block."""
    stack = LiveStack(data_dir, environ or {}, *options)
    await stack.start()
    try:
        yield stack
    finally:
        await stack.stop()
