"""What Workers ask of the edge: their own files, and to fetch from elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpcore

from services.edge.answers import Answer, text
from services.edge.releases import Release
from services.edge.request import Request, read_request
from services.edge.sending import send_answer
from services.edge.workers.carrying import ClientGone
from services.edge.workers.outbound import Outbound
from services.edge.workers.places import own_place, remove_place
from shared.adapters.workerd.config import ASSETS, BINDING_HEADER
from shared.asgi import Receive, Scope, Send
from shared.http_service import HttpService, live
from shared.networks import Network
from shared.unix_sockets import listening, socket_path

FromFiles = Callable[[Release, tuple[str, ...], Request], Awaitable[Answer]]


class _Known(NamedTuple):
    release: Release
    outbound: httpcore.AsyncConnectionPool


class Bindings:
    """An ASGI application on a socket that only the processes of Workers reach.

    Each process is known by a token, which workerd puts into every request; the script cannot change it.

    Args:
        data: the data folder.
        from_files: answers a request with the files of a release.
        allowed: networks that Workers may reach although they are not public.
    """

    def __init__(self, data: Path, from_files: FromFiles, allowed: tuple[Network, ...]) -> None:
        self._data = data
        self._from_files = from_files
        self._outbound = Outbound(allowed)
        self._known: dict[str, _Known] = {}
        self._place: Path | None = None
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()

    async def place(self) -> Path:
        """Return the folder of this edge's processes, in which `edge/edge.sock` listens from the first call on."""
        async with self._opening:
            if self._place is None:
                self._place = await self._opened()
            return self._place

    async def close(self) -> None:
        """Stop listening; remove the folder."""
        await self._open.aclose()
        self._outbound.close()
        if self._place is not None:
            await asyncio.to_thread(remove_place, self._place, self._data)

    @asynccontextmanager
    async def known(self, token: str, release: Release) -> AsyncIterator[None]:
        """Know the process with this token as one of the release."""
        async with self._outbound.connections() as connections:
            self._known[token] = _Known(release, connections)
            try:
                yield
            finally:
                del self._known[token]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a Worker, or start and stop with the server."""
        if scope["type"] == "lifespan":
            return await live(receive, send)
        kind, _, token = dict(scope["headers"]).get(BINDING_HEADER.encode(), b"").decode("latin-1").partition(" ")
        known = self._known.get(token)
        if known is None:
            await send_answer(text("This is for Workers.", 403), scope, send)
            return
        with suppress(ClientGone):
            await send_answer(await self._answer(kind, known, scope, receive), scope, send)

    async def _answer(self, kind: str, known: _Known, scope: Scope, receive: Receive) -> Answer:
        if kind == ASSETS:
            return await self._from_files(known.release, (), read_request(scope, receive, ()).at_root())
        return await self._outbound.fetch(known.outbound, scope, receive)

    async def _opened(self) -> Path:
        place = await asyncio.to_thread(own_place, self._data)
        short = self._open.enter_context(socket_path(place / "edge"))
        listener = self._open.enter_context(listening(f"{short}/edge.sock"))
        stopping = asyncio.Event()
        service = asyncio.create_task(HttpService("worker bindings", self, listener=listener).run(stopping))

        async def stop() -> None:
            stopping.set()
            await service

        self._open.push_async_callback(stop)
        return place
