"""Processes named so that a number used again is not mistaken for the old one, and their proven end."""

import os
import select
import signal
from pathlib import Path

import msgspec

from shared.contracts.errors import ZepidError


class Process(msgspec.Struct, frozen=True):
    """One process of this host.

    Attributes:
        pid: its number.
        started: clock ticks from boot to its start.
        boot: id of the boot it belongs to.
    """

    pid: int
    started: int
    boot: str


def identify(pid: int) -> Process | None:
    """Return the process that has this number now (a zombie too), or None."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    started = int(stat.rpartition(")")[2].split()[19])
    return Process(pid, started, Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def children(process: Process) -> list[Process]:
    """Return the direct children of a process; none when it is gone."""
    if identify(process.pid) != process:
        return []
    try:
        pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [child for pid in pids if (child := identify(int(pid)))]


def end(process: Process, seconds: float = 10.0) -> None:
    """Kill a process and wait until the kernel says it is dead; fine if it is dead already.

    The end of a pid namespace's first process is reported after all others in it are dead, so
    ending that one proves the end of the whole tree.

    Raises:
        ZepidError: SANDBOX_COMMAND_FAILED, it did not die in time.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if identify(process.pid) == process and not _killed(handle, seconds):
            raise ZepidError(
                "SANDBOX_COMMAND_FAILED", f"Process {process.pid} of a sandbox did not die within {seconds:g} s."
            )
    finally:
        os.close(handle)


def _killed(handle: int, seconds: float) -> bool:
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
