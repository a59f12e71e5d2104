"""Sockets in folders whose paths may be long."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BACKLOG = 1024


@contextmanager
def socket_path(folder: Path) -> Iterator[str]:
    """Yield a path of the folder that is short: a socket's address has room for about a hundred bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


@contextmanager
def listening(path: str) -> Iterator[socket.socket]:
    """Listen at a path for whoever may enter its folder."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        Path(path).chmod(0o666)
        listener.listen(_BACKLOG)
        yield listener
