"""Watchers that cost next to nothing: a socket each, which notes what came when."""

import asyncio
import re
import time
from typing import cast

import msgspec

_EVENT = re.compile(rb"(?:id: (\d+)\n)?event: (\w+)\n")
_OPENING_AT_ONCE = 100


class Seen(msgspec.Struct, frozen=True):
    """One event as it arrived: its id (0 without one), its name, and when, in seconds since 1970."""

    sequence: int
    name: str
    at: float


class Watcher(asyncio.Protocol):
    """One open event stream of a deployment."""

    def __init__(self, path: str, token: str) -> None:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
        self._request = head.encode()
        self._parts: list[tuple[float, bytes]] = []
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note what came; it is read when the measurement is over."""
        self._parts.append((time.time(), data))
        if not self.told.done() and b"event: " in data:
            self.told.set_result(None)
        if data.endswith(b"0\r\n\r\n"):
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The stream is over."""
        if not self.closed.done():
            self.closed.set_result(None)

    def seen(self) -> list[Seen]:
        """Return the events in the order in which they came; one that came in parts counts from its first."""
        text = b"".join(part for _, part in self._parts)
        moments, end = [], 0
        for at, part in self._parts:
            end += len(part)
            moments.append((end, at))
        found, place = [], 0
        for event in _EVENT.finditer(text):
            while moments[place][0] < event.end():
                place += 1
            found.append(Seen(int(event[1] or 0), event[2].decode(), moments[place][1]))
        return found


async def open_watchers(port: int, token: str, paths: list[str]) -> list[Watcher]:
    """Open a stream for each path, some at a time; returns when each has told its first event."""
    turn = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def opened(path: str) -> Watcher:
        async with turn:
            _, watcher = await asyncio.get_running_loop().create_connection(
                lambda: Watcher(path, token), "127.0.0.1", port
            )
            await watcher.told
            return watcher

    return await asyncio.gather(*(opened(path) for path in paths))
