"""Processes named so that a number used again is not mistaken for the old one, and their proven end."""

import os
import re
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import msgspec

from shared.contracts.errors import ZepidError

GRACE_SECONDS = 2.0
"""How long a command that is told to stop may take to end by itself."""
_END_SECONDS = 10.0
_OWN = re.compile(r"^(Threads|RssAnon|RssShmem):\s+(\d+)", re.MULTILINE)


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


@cache
def boot_id() -> str:
    """Return the id of this boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Process | None:
    """Return the process that has this number now (a zombie too), or None."""
    fields = _stat(pid)
    return Process(pid, int(fields[19]), boot_id()) if fields else None


def children(process: Process) -> list[Process]:
    """Return the direct children of a process; none when it is gone."""
    pids: list[str] = []
    for listed in Path(f"/proc/{process.pid}/task").glob("*/children"):
        try:
            pids += listed.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
    if identify(process.pid) != process:
        return []
    return [child for pid in pids if (child := identify(int(pid)))]


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and all its descendants have used; 0 when it is gone."""
    ticks = sum(int(fields[11]) + int(fields[12]) for each in _tree(pid) if (fields := _stat(each.pid)))
    return ticks / os.sysconf("SC_CLK_TCK")


def threads_and_bytes(pid: int, most: int) -> tuple[int, int]:
    """Return how many threads a process and its descendants have, and how many bytes of memory of their own.

    Counts no further than about `most` threads: they may become more faster than they can be counted.
    """
    threads = kibibytes = 0
    for process in _tree(pid, most):
        found = dict(_OWN.findall(_read(f"/proc/{process.pid}/status")))
        threads += int(found.get("Threads", 0))
        kibibytes += int(found.get("RssAnon", 0)) + int(found.get("RssShmem", 0))
    return threads, kibibytes << 10


def end_tree(tree: Sequence[Process], grace: float = 0.0) -> None:
    """End a command and wait until the kernel says that all of it is dead; fine if it is dead already.

    The end of a pid namespace's first process is reported after all others in it are dead, so
    ending that one proves the end of the whole tree. It takes no SIGTERM: those inside get it.

    Args:
        tree: the process that starts the namespace; then, if known, the namespace's first process.
        grace: seconds between SIGTERM and SIGKILL for what runs inside; 0 = SIGKILL at once.

    Raises:
        ZepidError: SANDBOX_COMMAND_FAILED, a process did not die in time.
    """
    starter, *firsts = tree
    with _held(starter) as handle:
        if handle is not None:
            _stop(starter, handle)  # it starts nothing more, and does not end the rest when the first of them ends
            firsts += [child for child in children(starter) if child not in firsts]
        for first in firsts:
            _end(first, grace)
        _end(starter, 0)


def _end(process: Process, grace: float) -> None:
    with _held(process) as handle:
        if handle is None:
            return
        told = [_send(inside, signal.SIGTERM) for inside in _descendants(process)] if grace else []
        if any(told) and _is_dead(handle, grace):
            return
        _send(process, signal.SIGKILL)
        if not _is_dead(handle, _END_SECONDS):
            raise _immortal(process)


def _tree(pid: int, most: int | None = None) -> list[Process]:
    process = identify(pid)
    return [process, *_descendants(process, most)] if process else []


def _descendants(process: Process, most: int | None = None) -> list[Process]:
    found = [process]
    for member in found:
        found += children(member)
        if most and len(found) > most:
            break
    return found[1:]


def _stop(process: Process, handle: int) -> None:
    """Stop a process and wait until it is: from then on it makes no child."""
    _send(process, signal.SIGSTOP)
    until = time.monotonic() + _END_SECONDS
    while not _is_dead(handle, 0.001) and (fields := _stat(process.pid)) and fields[0] not in "Tt":
        if time.monotonic() > until:
            raise _immortal(process)


def _send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; return whether it was there to get it."""
    with _held(process) as handle:
        if handle is None:
            return False
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def _held(process: Process) -> Iterator[int | None]:
    """Open a process, so that its number can't come to mean another one; None when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle if identify(process.pid) == process else None
    finally:
        os.close(handle)


def _is_dead(handle: int, seconds: float) -> bool:
    """Wait for the end of a process, at most `seconds`; return whether it came."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _stat(pid: int) -> list[str]:
    """Return what the kernel says about a process from its state on; nothing when it is gone."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _read(path: str) -> str:
    """Return what the kernel says about a process, "" when it is gone."""
    try:
        return Path(path).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _immortal(process: Process) -> ZepidError:
    return ZepidError(
        "SANDBOX_COMMAND_FAILED", f"Process {process.pid} of a sandbox did not die within {_END_SECONDS:g} s."
    )
