"""What must not be left on this host: sandboxes, their processes, half-made or set-aside folders."""

import os
from collections.abc import Iterator
from pathlib import Path

from services.cli.benches.chaos.audit import Violation
from services.cli.benches.chaos.stack import Stack

_TEMPORARY = (".new-*", ".gone-*", ".probe-*")
_DEPTH = 4


def leftovers(stack: Stack) -> list[Violation]:
    """Look at the disk and at /proc; the services still run, but have nothing to do."""
    return [*_folders(stack.folder), *_processes(stack)]


def _folders(folder: Path) -> Iterator[Violation]:
    for path in sorted((folder / "sandboxes").glob("*")):
        yield Violation(path.name, "its sandbox folder is left")
    for depth in range(1, _DEPTH):
        for pattern in _TEMPORARY:
            for path in folder.glob(f"{'*/' * depth}{pattern}"):
                if path.parent.name != "sandboxes":
                    yield Violation(str(path.relative_to(folder)), "is left")


def _processes(stack: Stack) -> Iterator[Violation]:
    """Children of the services, and whatever else lives in one of the sandboxes' folders."""
    services = {pid: name for name, pid in stack.services.pids().items()}
    sandboxes = f"{stack.folder.name}/sandboxes/"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
            mounts = (process / "mountinfo").read_text()
        except OSError:
            continue
        if parent in services:
            yield Violation(services[parent], f"still has the process {process.name}: {command}")
        elif sandboxes in mounts and int(process.name) != os.getpid():
            yield Violation(process.name, f"lives in a sandbox: {command}")
