"""Runs one bubblewrap command: recorded before it may go on, proven dead when its block is left."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from shared.adapters.sandboxes.local import processes
from shared.adapters.sandboxes.local.box import Box
from shared.adapters.sandboxes.local.folder import SandboxFolder
from shared.adapters.sandboxes.local.host import Places
from shared.adapters.sandboxes.local.limits import DEFAULT, Limits
from shared.adapters.sandboxes.local.lines import Lines
from shared.adapters.sandboxes.local.processes import Process
from shared.contracts.errors import ZepidError
from shared.ports import Exit, Fence, OnOutput

TIMED_OUT = 124
KILLED = 137
_LAUNCHER_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class _Status(msgspec.Struct, rename="kebab"):
    """One line of bubblewrap's report: first its child's number, at the end the exit code."""

    child_pid: int = 0
    exit_code: int | None = None


@dataclass(slots=True)
class Command:
    """A command in a sandbox.

    Attributes:
        folder, fence: the sandbox, and the attempt that runs this.
        places, box: what it sees.
        argv: the program and its arguments.
        descriptors: open files that it inherits under the same numbers.
        grace: seconds between SIGTERM and SIGKILL when it is ended; 0 = SIGKILL at once.
    """

    folder: SandboxFolder
    fence: Fence
    places: Places
    box: Box
    argv: list[str]
    descriptors: tuple[int, ...] = ()
    grace: float = processes.GRACE_SECONDS
    _name: str = field(default_factory=lambda: uuid.uuid4().hex)
    _members: list[Process] = field(default_factory=list)

    @asynccontextmanager
    async def started(self, stdout: int = asyncio.subprocess.PIPE) -> AsyncIterator["Started"]:
        """Start it, and end its whole tree on leaving: with SIGTERM first if it still runs.

        Raises:
            ZepidError: SANDBOX_FENCED, SANDBOX_CONNECT_FAILED, SANDBOX_COMMAND_FAILED.
        """
        process, status = await self._spawn(stdout)
        try:
            await self._record(process.pid)
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.close()
            if line := await status.readline():
                await self._record(msgspec.json.decode(line, type=_Status).child_pid)
            yield Started(self, process, status)
        finally:
            await asyncio.shield(self._end(process))

    async def _spawn(self, stdout: int) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader]:
        arguments = "".join(f"{part}\0" for part in self.box.arguments())
        given = (_memory_file(self.places.mounts()), _memory_file(arguments))
        status_read, status_write = os.pipe()
        status = await _reader(status_read)
        try:
            process = await asyncio.create_subprocess_exec(
                *self.places.launch(*given, status_write, self.argv),
                stdin=asyncio.subprocess.PIPE,
                stdout=stdout,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(*given, status_write, *self.descriptors),
                env=_LAUNCHER_ENV,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise ZepidError("SANDBOX_COMMAND_FAILED", f"The sandbox could not start: {error}.") from error
        finally:
            for descriptor in (*given, status_write):
                os.close(descriptor)
        return process, status

    async def _record(self, pid: int) -> None:
        if process := processes.identify(pid):
            self._members.append(process)
            await asyncio.to_thread(self.folder.record, self.fence, self._name, self._members)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if self._members:
            await asyncio.to_thread(self.folder.end, self._name, self._members, self.grace)
        await process.wait()


@dataclass(frozen=True, slots=True)
class Started:
    """A command that was started."""

    command: Command
    process: asyncio.subprocess.Process
    status: asyncio.StreamReader

    async def exit(self, errors: list[str]) -> Exit:
        """Return how it ended by itself, once its process has.

        Args:
            errors: the last lines of its standard error, for the message of a failed start.

        Raises:
            ZepidError: SANDBOX_FENCED or SANDBOX_CONNECT_FAILED when another attempt or `destroy`
                killed it; SANDBOX_COMMAND_FAILED when it could not be started.
        """
        killed = self.process.returncode == -9
        for line in (await self.status.read()).splitlines():
            code = msgspec.json.decode(line, type=_Status).exit_code
            if code not in (None, KILLED):
                return Exit(code)
            killed = killed or code == KILLED
        await asyncio.to_thread(self._check_fence)
        if killed:
            return Exit(KILLED, out_of_memory=True)
        raise ZepidError(
            "SANDBOX_COMMAND_FAILED", "The sandbox could not start the command.", excerpt="\n".join(errors)
        )

    def _check_fence(self) -> None:
        with self.command.folder.claimed(self.command.fence):
            return


async def run_command(command: Command, timeout: float, on_output: OnOutput, limits: Limits = DEFAULT) -> Exit:
    """Run a command to its end, handing on each line; raises like `Command.started` and `Started.exit`."""
    errors: list[str] = []
    stopped: Exit | None = None
    readers: list[asyncio.Task[None]] = []

    def on_line(stream: str, line: str) -> None:
        if stream == "stderr":
            errors[:] = [*errors[-9:], line]
        on_output(stream, line)

    try:
        async with command.started() as started:
            process = started.process
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
                assert stream is not None
                readers.append(asyncio.create_task(_forward(name, stream, on_line)))
            stopped = await _until_stopped(started, timeout, limits, on_line)
    finally:
        await asyncio.gather(*readers)
    return stopped or await started.exit(errors)


async def _until_stopped(started: Started, timeout: float, limits: Limits, on_line: OnOutput) -> Exit | None:
    """Wait until a command has ended or has to be; return how it is ended, None where it did so by itself.

    One that takes too much is not asked to stop first.
    """
    ending = asyncio.create_task(started.process.wait())
    watching = asyncio.create_task(limits.exceeded(started.process.pid))
    try:
        done, _ = await asyncio.wait({ending, watching}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        watching.cancel()
    if ending in done:
        return None
    if watching not in done:
        return Exit(TIMED_OUT, timed_out=True)
    started.command.grace = 0.0
    excess = watching.result()
    on_line("stderr", f"stopped: the command had {excess.words}")
    return Exit(KILLED, out_of_memory=excess.of_memory)


async def _forward(name: str, stream: asyncio.StreamReader, on_line: OnOutput) -> None:
    lines = Lines()
    while data := await stream.read(65536):
        for line in lines.feed(data):
            on_line(name, line)
    for line in lines.feed(b""):
        on_line(name, line)


def _memory_file(text: str) -> int:
    descriptor = os.memfd_create("sandbox")
    os.write(descriptor, text.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb"))
    return reader
