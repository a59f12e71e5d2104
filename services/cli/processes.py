"""One process a service, restarted with backoff when it ends (`zepid up --processes`)."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from infra.dev.child import Child
from services.cli.catalog import NAMES, command_line
from shared.telemetry import log

_BACKOFF_BASE_SECONDS = 0.2
_BACKOFF_CAP_SECONDS = 10.0
_STEADY_SECONDS = 30.0
_STOP_SECONDS = 15.0


class Processes:
    """Keeps every service running; their output goes to `<data dir>/logs/<service>.log`."""

    def __init__(self, data_dir: Path, environ: Mapping[str, str]) -> None:
        self._data_dir = data_dir
        self._environ = {**os.environ, **environ}
        self._children: dict[str, Child] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Start all, restart what ends, stop all when `stopping` is set."""
        keepers = [asyncio.create_task(self._keep(name)) for name in NAMES]
        await stopping.wait()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await asyncio.gather(*(child.stop(_STOP_SECONDS) for child in self._children.values()))

    def pids(self) -> dict[str, int]:
        """The process id of every service that was started."""
        return {name: child.pid for name, child in self._children.items()}

    async def _keep(self, name: str) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            why = await self._run_once(name)
            failures = 1 if time.monotonic() - started > _STEADY_SECONDS else failures + 1
            delay = min(_BACKOFF_CAP_SECONDS, _BACKOFF_BASE_SECONDS * 2 ** min(failures, 10))
            log.warning("service ended", service=name, restart_in=delay, **why)
            await asyncio.sleep(delay)

    async def _run_once(self, name: str) -> dict[str, object]:
        """Run a service until it ends; return why it did."""
        try:
            child = self._children[name] = await self._start(name)
        except OSError as error:
            return {"error": f"could not be started: {error}"}
        code = await child.ended()
        return {"exit_code": code, "said": child.last_words(3)}

    async def _start(self, name: str) -> Child:
        child = await Child.spawn(
            command_line(name),
            folder=Path.cwd(),
            log=self._data_dir / "logs" / f"{name}.log",
            stop_signal=signal.SIGTERM,
            environ=self._environ,
        )
        (self._data_dir / "pids").mkdir(exist_ok=True)
        (self._data_dir / "pids" / name).write_text(f"{child.pid}\n")
        return child
