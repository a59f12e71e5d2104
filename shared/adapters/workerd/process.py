"""One Worker as a process: workerd in a sandbox of its own, without a network, with little memory, of low priority."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.sandboxes.local import processes
from shared.adapters.sandboxes.local.box import Box
from shared.adapters.sandboxes.local.command import Command, Started
from shared.adapters.sandboxes.local.files import remove_tree, replace_file
from shared.adapters.sandboxes.local.folder import Meta, SandboxFolder
from shared.adapters.sandboxes.local.host import Host, command_places
from shared.adapters.sandboxes.local.lines import Lines
from shared.adapters.sandboxes.local.programs import WORKERD
from shared.adapters.workerd.config import EDGE_SOCKET, Configuration
from shared.blobs import load
from shared.ports import Fence, Objects
from shared.unix_sockets import listening, socket_path

DATA_BYTES = 768 << 20
"""What a process may write to; workerd itself sets 512 MiB of it aside for compiled code, which it hardly uses."""
_LAST_LINES = 20
_READ_SECONDS = 1.0
_NICE = 10
_FENCE = Fence(0, 0, 0, 0)
_CONFIG = "worker.capnp"


@dataclass(slots=True)
class WorkerProcess:
    """A process that runs.

    Attributes:
        socket: path at which it answers HTTP.
        process: its outermost one.
        said: the last lines that it printed.
    """

    socket: str
    process: asyncio.subprocess.Process
    said: deque[str]

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self.process.returncode is not None

    def cpu_seconds(self) -> float:
        """Processor time that it and all below it have used so far."""
        return processes.cpu_seconds(self.process.pid)


@asynccontextmanager
async def launched(
    host: Host, folder: Path, edge: Path, configuration: Configuration, objects: Objects
) -> AsyncIterator[WorkerProcess]:
    """Start a Worker; on leaving it is dead and its folder gone.

    A request may be sent at once: it waits until the process takes it.

    Args:
        host: where the runtime is installed.
        folder: the process's own, to be made.
        edge: the folder in which `edge.sock` is the way from Workers to the edge.
        configuration: what it runs.
        objects: has its modules.

    Raises:
        ZepidError: STORAGE_READ_FAILED, a module is missing; SANDBOX_… where it could not be started.
    """
    made = SandboxFolder(folder, host.owner)
    await asyncio.to_thread(made.create, Meta("workers"))
    try:
        await _write(folder / "source", configuration, objects)
        with socket_path(folder) as short, listening(f"{short}/http.sock") as listener:
            command = _command(host, made, edge, configuration.environment, listener.fileno())
            async with command.started() as started, _read_by(started) as said:
                yield WorkerProcess(f"{short}/http.sock", started.process, said)
    finally:
        await asyncio.to_thread(remove_tree, folder)


async def _write(folder: Path, configuration: Configuration, objects: Objects) -> None:
    for name, module in configuration.files.items():
        data = await load(objects, module.digest, name)
        await asyncio.to_thread(replace_file, folder / name, data)
    await asyncio.to_thread(replace_file, folder / _CONFIG, configuration.text.encode())


def _command(host: Host, made: SandboxFolder, edge: Path, environment: dict[str, str], descriptor: int) -> Command:
    places = command_places(host, sandbox=made.path, toolchains=host.toolchains, edge=edge)
    runtime = places.at("toolchains", WORKERD.folder)
    mounts = ("--ro-bind", places.at("sandbox", "source"), "/project", "--ro-bind", runtime, "/runtime")
    way = ("--ro-bind", places.at("edge"), str(Path(EDGE_SOCKET).parent))
    box = Box((*mounts, *way), places.at("node"), places.at("sandbox", "etc"), env=environment)
    program = f"/runtime/{WORKERD.executable} serve {_CONFIG} --socket-fd=http={descriptor}"
    line = f"ulimit -d {DATA_BYTES >> 10} && exec nice -n {_NICE} {program}"
    return Command(made, _FENCE, places, box, ["/bin/sh", "-c", line], descriptors=(descriptor,), grace=0.0)


@asynccontextmanager
async def _read_by(started: Started) -> AsyncIterator[deque[str]]:
    """Keep the last lines of what is printed; a process that nobody reads would stop."""
    said: deque[str] = deque(maxlen=_LAST_LINES)
    streams = filter(None, (started.process.stdout, started.process.stderr))
    readers = [asyncio.create_task(_read(stream, said)) for stream in streams]
    try:
        yield said
    finally:
        if started.process.returncode is not None:
            await asyncio.wait(readers, timeout=_READ_SECONDS)
        for reader in readers:
            reader.cancel()


async def _read(stream: asyncio.StreamReader, said: deque[str]) -> None:
    lines = Lines()
    while data := await stream.read(65536):
        said.extend(lines.feed(data))
