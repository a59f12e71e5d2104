"""An ASGI app as a service of ours: starts, serves, and stops without an error seen by a client."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from shared.asgi import Receive, Send
from shared.service import CannotStart
from shared.telemetry import log
from shared.zero_copy import ZeroCopyProtocol

BACKLOG = 4096
"""How many connections may wait while nobody accepts them."""
KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle: longer than clients keep theirs, or a request may meet the server's close."""
LISTEN_FD = "LISTEN_FD"
"""Environment variable: the number of a listening socket that the parent process has opened.

It stays open from one process to the next, so connections wait while the service is replaced.
"""
_GRACE_SECONDS = 5
_LAST_REQUESTS_SECONDS = 1.0
"""How long an accepted connection may still send a request after the service was told to stop."""
_CHECK_SECONDS = 0.02

Act = Callable[[], Awaitable[None]]


async def live(receive: Receive, send: Send, start: Act | None = None, close: Act | None = None) -> None:
    """Start and stop an ASGI app with its server: the handshake of its `lifespan`."""
    await receive()
    if start is not None:
        await start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if close is not None:
        await close()
    await send({"type": "lifespan.shutdown.complete"})


class HttpService:
    """Serves an ASGI app until told to stop, on the inherited socket if there is one, else on its address.

    `before_stop` ends what would keep requests open, such as event streams. With a `listener` of its own it serves
    on that alone.
    """

    def __init__(
        self,
        name: str,
        app: Any,
        host: str = "",
        port: int = 0,
        before_stop: Act | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        self._name = name
        self._listener = listener
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=ZeroCopyProtocol,
            loop="none",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=BACKLOG,
        )
        self._server = _Server(config, before_stop)

    @property
    def in_flight(self) -> int:
        """How many requests it answers now, open streams among them."""
        return len(self._server.server_state.tasks)

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set, then let requests finish for a few seconds.

        Raises:
            CannotStart: SERVICE_UNAVAILABLE, the address is in use or the app did not start.
        """
        sockets = [self._listener] if self._listener else _inherited()
        serving = asyncio.create_task(self._server.serve(sockets))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        self._server.should_exit = True
        stopped.cancel()
        try:
            await serving
        except SystemExit:
            address = f"{self._server.config.host}:{self._server.config.port}"
            raise CannotStart("SERVICE_UNAVAILABLE", f"{self._name} cannot listen on {address}") from None
        log.debug("http service stopped", service=self._name)


def _inherited() -> list[socket.socket] | None:
    """The listening socket that the parent process has passed on; None when there is none."""
    number = os.environ.get(LISTEN_FD)
    if not number:
        return None
    try:
        inherited = socket.socket(fileno=os.dup(int(number)))
    except (OSError, ValueError) as error:
        raise CannotStart("SERVICE_UNAVAILABLE", f"{LISTEN_FD}={number} is no listening socket: {error}") from None
    return [inherited]


class _Server(uvicorn.Server):
    """Leaves the signals to the process; stops by refusing nobody whom it has accepted."""

    def __init__(self, config: uvicorn.Config, before_stop: Act | None) -> None:
        super().__init__(config)
        self._before_stop = before_stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer the requests that are on their way as the last of their connections, then close."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        if self._before_stop is not None:
            await self._before_stop()
        closed_at = time.monotonic() + _LAST_REQUESTS_SECONDS
        while self._awaits_requests() and time.monotonic() < closed_at:  # noqa: ASYNC110 - uvicorn tells of no change
            await asyncio.sleep(_CHECK_SECONDS)
        await super().shutdown(sockets)

    def _awaits_requests(self) -> bool:
        cycles = [connection.cycle for connection in self.server_state.connections]  # type: ignore[union-attr]
        return any(cycle is None or cycle.response_complete for cycle in cycles)
