"""Signals to children of this process: no other process is ever touched."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from shared.adapters.sandboxes.local.processes import Process, identify


def child(pid: int) -> Process | None:
    """Return the process of this number if it is a child of this one, else None."""
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return identify(pid) if parent == os.getpid() else None


def signal_child(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a child of ours; return whether there was one."""
    if child(pid) is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
