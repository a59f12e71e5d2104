"""What the embedded servers have in common: start, be ready, be kept running, stop."""

import asyncio
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import structlog

from infra.dev.child import POLL_SECONDS, Child, until_left
from infra.dev.data_dir import password_file, port_for
from infra.dev.errors import EmbeddedStackError

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
STEADY_SECONDS = 5.0
"""A server that ran this long is restarted as quickly as at its first failure."""
BACKOFF_BASE_SECONDS = 0.05
BACKOFF_CAP_SECONDS = 5.0


class Server(ABC):
    """A server as a child process, its files in a folder of its own below `data_dir`.

    Attributes:
        name: names the folder, the log and the remembered port and password.
        program: name of the binary, as the kernel shows it.
        stop_signal: asks it to end at once without losing anything.
        folder: its files.
        durable: whether every acknowledged write is on the disk; False is for tests.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, data_dir: Path, port: int = 0, *, durable: bool = True) -> None:
        self.data_dir = data_dir.resolve()
        self.folder = self.data_dir / self.name
        self.durable = durable
        self._given_port = port
        self._port = 0
        self._child: Child | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, with user and password; known once started."""

    @property
    def port(self) -> int:
        """The port it listens on; stays the same over restarts. 0 before the first start."""
        return self._port

    @property
    def pid(self) -> int:
        """The id of the process that runs now."""
        return self._running.pid

    @property
    def password(self) -> str:
        """The password of the user `zepid`."""
        return password_file(self.name, self.data_dir).read_text().strip()

    @property
    def log(self) -> Path:
        """The file with what the server printed since its latest start."""
        return self.data_dir / "logs" / f"{self.name}.log"

    async def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            EmbeddedStackError: it did not get ready; nothing of it is left running.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        await until_left(self.folder, self.program)
        self._port = self._port or port_for(self.name, self.data_dir, self._given_port)
        try:
            await self._prepare()
            self._child = await Child.spawn(
                self._command(), folder=self.folder, log=self.log, stop_signal=self.stop_signal
            )
            await self._until_ready(self._child)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server cleanly; fine if it does not run."""
        if self._child is not None:
            await self._child.stop(STOP_SECONDS)

    async def keep_running(self) -> None:
        """Start the server again on the same port whenever it ends; runs until cancelled."""
        logger = structlog.get_logger(__name__)
        failures = 0
        while True:
            watched_since = time.monotonic()
            code = await self._running.ended()
            steady = time.monotonic() - watched_since > STEADY_SECONDS
            failures = 1 if steady else failures + 1
            delay = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(failures, 10))
            logger.warning("embedded server ended", server=self.name, exit_code=code, restart_in=delay)
            await asyncio.sleep(delay)
            try:
                await self.start()
                logger.info("embedded server restarted", server=self.name, port=self.port, pid=self.pid)
            except (EmbeddedStackError, OSError) as error:
                logger.error("embedded server did not restart", server=self.name, error=str(error))

    @abstractmethod
    async def _prepare(self) -> None:
        """Make the folder and whatever the server needs in it."""

    @abstractmethod
    def _command(self) -> list[str | Path]:
        """The command line of the server."""

    @abstractmethod
    async def _is_ready(self) -> bool:
        """Ask the server, and none that took its port, whether it answers."""

    @property
    def _running(self) -> Child:
        if self._child is None:
            raise EmbeddedStackError(f"The embedded {self.name} has not been started.")
        return self._child

    async def _until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not await self._is_ready():
            if child.exit_code is not None:
                why = f"ended with exit code {child.exit_code}"
            elif time.monotonic() > deadline:
                why = f"did not answer on port {self.port} within {READY_SECONDS:.0f} s"
            else:
                await asyncio.sleep(POLL_SECONDS)
                continue
            raise EmbeddedStackError(f"The embedded {self.name} {why}:\n{child.last_words()}")
