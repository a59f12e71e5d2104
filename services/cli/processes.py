"""One process a service, kept running and replaced one after the other (`zepid up --processes`)."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from infra.dev.child import Child
from services.cli.catalog import NAMES, command_line
from shared.http_service import BACKLOG, LISTEN_FD
from shared.service import READY_FD, CannotStart
from shared.settings import Settings
from shared.telemetry import log

_BACKOFF_BASE_SECONDS = 0.2
_BACKOFF_CAP_SECONDS = 10.0
_STEADY_SECONDS = 10.0
_STOP_SECONDS = 15.0
_SUCCESSOR_SECONDS = 60.0


class Processes:
    """Keeps every service running.

    It holds the listening sockets of the services with a port itself, so that connections wait,
    and none is refused, while such a service is replaced. `replicas` says of which services there are
    several; the second process of `build` is called `build.2`.
    """

    def __init__(self, data_dir: Path, settings: Settings, replicas: Mapping[str, int] | None = None) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._names = [
            name if number == 1 else f"{name}.{number}"
            for name in NAMES
            for number in range(1, 1 + (replicas or {}).get(name, 1))
        ]
        self._services: list[_Kept] = []
        self._hangup = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Start all, start again what ends, replace all at SIGHUP, stop all when `stopping` is set.

        Raises:
            CannotStart: SERVICE_UNAVAILABLE, a port is in use.
        """
        settings = self._settings
        environ = {**os.environ, **settings.as_environ()}
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup.set)
        with ExitStack() as opened:
            ports = {"gateway": settings.port, "edge": settings.edge_port}
            listening = {name: opened.enter_context(_listen(settings.host, port)) for name, port in ports.items()}
            services = [_Kept(name, self._data_dir, environ, listening.get(name)) for name in self._names]
            self._services = services
            tasks = [asyncio.create_task(service.keep()) for service in services]
            tasks.append(asyncio.create_task(self._replace_when_asked(services)))
            await stopping.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(service.stop() for service in services))

    def pids(self) -> dict[str, int]:
        """The process id of every service that runs now."""
        return {service.name: service.pid for service in self._services if service.pid}

    async def _replace_when_asked(self, services: list["_Kept"]) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            for service in services:
                if not await service.replace():
                    log.error("rolling restart given up: a service does not start again", service=service.name)
                    break
            else:
                log.info("rolling restart done", services=len(services))


class _Kept:
    """A service that is kept running; its output goes to `<data dir>/logs/<service>.log`."""

    def __init__(self, name: str, data_dir: Path, environ: Mapping[str, str], listening: socket.socket | None) -> None:
        self.name = name
        self._data_dir = data_dir
        self._environ = environ
        self._listening = listening
        self._child: Child | None = None
        self._has_worked = False
        self._works = asyncio.Event()

    @property
    def pid(self) -> int:
        """The process id, 0 while none runs."""
        return self._child.pid if self._child and self._child.exit_code is None else 0

    async def keep(self) -> None:
        """Start it again whenever it ends: at once when it was stopped, with backoff when it failed."""
        failures = 0
        while True:
            started = time.monotonic()
            why = await self._run_once()
            if why is None:
                log.info("service was stopped and starts again", service=self.name)
                continue
            failures = 1 if time.monotonic() - started > _STEADY_SECONDS else failures + 1
            delay = min(_BACKOFF_CAP_SECONDS, _BACKOFF_BASE_SECONDS * 2 ** min(failures, 10))
            log.warning("service ended", service=self.name, restart_in=delay, **why)
            await asyncio.sleep(delay)

    async def replace(self) -> bool:
        """Stop it while it is kept; return whether its successor works."""
        await self.stop()
        self._works.clear()
        try:
            await asyncio.wait_for(self._works.wait(), _SUCCESSOR_SECONDS)
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Let the process finish what it does, for some seconds."""
        if self._child is not None:
            await self._child.stop(_STOP_SECONDS)

    async def _run_once(self) -> dict[str, object] | None:
        """Run it until it ends; return why it did, None when it worked and was stopped."""
        try:
            child = self._child = await self._start()
        except OSError as error:
            return {"error": f"could not be started: {error}"}
        code = await child.ended()
        return None if code == 0 and self._has_worked else {"exit_code": code, "said": child.last_words(3)}

    async def _start(self) -> Child:
        self._has_worked = False
        told, tell = os.pipe()
        asyncio.get_running_loop().add_reader(told, self._hear, told)
        environ = {**self._environ, READY_FD: str(tell)}
        passed = [tell]
        if self._listening is not None:
            passed.append(self._listening.fileno())
            environ[LISTEN_FD] = str(self._listening.fileno())
        try:
            child = await Child.spawn(
                command_line(self.name.partition(".")[0]),
                folder=Path.cwd(),
                log=self._data_dir / "logs" / f"{self.name}.log",
                stop_signal=signal.SIGTERM,
                environ=environ,
                pass_fds=passed,
            )
        finally:
            os.close(tell)
        (self._data_dir / "pids").mkdir(exist_ok=True)
        (self._data_dir / "pids" / self.name).write_text(f"{child.pid}\n")
        return child

    def _hear(self, told: int) -> None:
        """The process says that it works, or has ended before it could."""
        if os.read(told, 1):
            self._has_worked = True
            self._works.set()
        asyncio.get_running_loop().remove_reader(told)
        os.close(told)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        raise CannotStart("SERVICE_UNAVAILABLE", f"nothing can listen on {host}:{port}: {error}") from error
    return listening
