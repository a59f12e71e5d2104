"""The folders of processes on this host: one for each edge, named after its process, so that leftovers are known."""

import os
from pathlib import Path
from uuid import uuid4

from shared.adapters.sandboxes.local import processes
from shared.adapters.sandboxes.local.files import make_folder, remove_tree
from shared.adapters.sandboxes.local.folder import SandboxFolder
from shared.adapters.sandboxes.local.host import this_host


def own_place(data: Path) -> Path:
    """Make a folder for the processes of an edge in this process, after removing what killed edges left."""
    for place in _places(data).glob("*-*-*"):
        pid, started, _ = place.name.split("-")
        if f"{pid}-{started}" != _process(int(pid)):
            remove_place(place, data)
    place = _places(data) / f"{_process(os.getpid())}-{uuid4().hex[:8]}"
    make_folder(place, 0o700)
    make_folder(place / "edge", 0o755)
    return place


def remove_place(place: Path, data: Path) -> None:
    """End what still runs in a folder, and remove it."""
    for folder in place.glob("rel_*"):
        SandboxFolder(folder, this_host(data).owner).destroy()
    remove_tree(place)


def _places(data: Path) -> Path:
    return data / "workers"


def _process(pid: int) -> str:
    process = processes.identify(pid)
    return f"{pid}-{process.started}" if process else ""
