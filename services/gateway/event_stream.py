"""Server-sent events: the wire form of one event, and the answer that streams them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

import msgspec
from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

MayGoOn = Callable[[], Awaitable[bool]]

_encode = msgspec.json.Encoder().encode
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: it keeps proxies from closing what is quiet."""
DIRECT_SEND = "zepid.send"
"""Where a connection's scope has the server's own `send`, past everything that only looks at an answer's head."""
RECHECK_SECONDS = 15.0
"""How long a stream goes on before its caller is looked at again, when it next has something to send."""
MEDIA_TYPE = "text/event-stream; charset=utf-8"
_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


def frame(name: str, data: object, event_id: int = 0) -> bytes:
    """Return an event as it is sent; JSON has no line break, so its data is one line."""
    number = b"id: %d\n" % event_id if event_id else b""
    return b"%bevent: %b\ndata: %b\n\n" % (number, name.encode(), _encode(data))


class EventStream(Response[bytes]):
    """Streams frames until they end, the caller leaves, or may not see them any more.

    Its own ASGI answer, because a gateway holds thousands of them: what a watcher costs while nothing
    happens is two small tasks.
    """

    def __init__(self, frames: AsyncGenerator[bytes, None], may_go_on: MayGoOn) -> None:
        super().__init__(b"", media_type=MEDIA_TYPE, headers=_HEADERS)
        self._frames = frames
        self._may_go_on = may_go_on

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """Return the answer that the server runs."""
        return _Streaming(self._frames, self._may_go_on)


class _Streaming(ASGIResponse):
    def __init__(self, frames: AsyncGenerator[bytes, None], may_go_on: MayGoOn) -> None:
        super().__init__(media_type=MEDIA_TYPE, headers=_HEADERS)
        self._frames = frames
        self._may_go_on = may_go_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", MEDIA_TYPE.encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sending = asyncio.create_task(self._send_all(cast(Send, scope.get(DIRECT_SEND, send))))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.wait({sending, leaving})
        if not sending.cancelled():
            sending.result()

    async def _send_all(self, send: Send) -> None:
        checked_at = time.monotonic()
        try:
            async for frames in self._frames:
                if time.monotonic() - checked_at >= RECHECK_SECONDS:
                    if not await self._may_go_on():
                        break
                    checked_at = time.monotonic()
                await send({"type": "http.response.body", "body": frames, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._frames.aclose()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
