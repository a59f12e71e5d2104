"""An ASGI app as a service of ours: starts, serves, and stops when it is told to."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from shared.service import CannotStart
from shared.telemetry import log

_GRACE_SECONDS = 5


class HttpService:
    """Serves an ASGI app on one address until told to stop.

    `before_stop` ends what would keep requests open, such as event streams.
    """

    def __init__(
        self, name: str, app: Any, host: str, port: int, before_stop: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._name = name
        self._before_stop = before_stop
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http="httptools",
            loop="none",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=4096,
        )
        self._server = _Server(config)

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set, then let requests finish for a few seconds.

        Raises:
            CannotStart: SERVICE_UNAVAILABLE, the address is in use or the app did not start.
        """
        serving = asyncio.create_task(self._server.serve())
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if self._before_stop is not None:
            await self._before_stop()
        self._server.should_exit = True
        stopped.cancel()
        try:
            await serving
        except SystemExit:
            address = f"{self._server.config.host}:{self._server.config.port}"
            raise CannotStart("SERVICE_UNAVAILABLE", f"{self._name} cannot listen on {address}") from None
        log.debug("http service stopped", service=self._name)


class _Server(uvicorn.Server):
    """Leaves the signals to the process; one process may run several of these."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
