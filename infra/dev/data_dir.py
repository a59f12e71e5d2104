"""What the data folder remembers between starts: who uses it, ports, passwords, the encryption key."""

import base64
import fcntl
import os
import random
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.dev.errors import EmbeddedStackError

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Free ports are taken from below those that the kernel gives to outgoing connections, which could
otherwise occupy a remembered port while its server is down."""


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the folder for this process; the kernel frees it however the process ends.

    Raises:
        EmbeddedStackError: another process holds it; names its pid.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise EmbeddedStackError(
                f"{data_dir} is in use by process {lock.read().strip()}. "
                "Stop that one first, or choose another data folder."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def port_for(server: str, data_dir: Path, given: int) -> int:
    """Return the port to listen on: the given one, else the one used before, else a free one.

    Raises:
        EmbeddedStackError: the given port is in use.
    """
    if given:
        if not is_free(given):
            raise EmbeddedStackError(
                f"Port {given} of {HOST} is in use, {server} cannot have it. Give another, or 0 for any."
            )
        return given
    remembered = data_dir / f"{server}.port"
    if remembered.exists() and is_free(port := int(remembered.read_text())):
        return port
    port = next(port for port in random.sample(PORTS, k=len(PORTS)) if is_free(port))
    remembered.write_text(f"{port}\n")
    return port


def password_file(server: str, data_dir: Path) -> Path:
    """Return the file with the server's password, readable by its owner only; made when missing."""
    return _kept(data_dir / f"{server}.password", lambda: secrets.token_hex(16))


def encryption_key(data_dir: Path) -> str:
    """Return the key for secrets at rest, kept in a file readable by its owner only; made when missing."""
    made = _kept(data_dir / "encryption.key", lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    return made.read_text().strip()


def _kept(file: Path, make: Callable[[], str]) -> Path:
    if not file.exists():
        complete = file.with_name(f"{file.name}.new")
        complete.unlink(missing_ok=True)
        complete.touch(mode=0o600)
        complete.write_text(make() + "\n")
        complete.rename(file)
    return file


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of this host now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
