"""Carries a request to another server and its answer back, in pieces as they come, while the client is there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import httpcore

from services.edge.answers import Answer
from shared.asgi import Receive
from shared.contracts.errors import ZepidError
from shared.release_header import RELEASE_HEADER

Headers = list[tuple[bytes, bytes]]
Result = TypeVar("Result")

CUT_OFF = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
"""What a connection that fails raises."""
_OF_THE_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"expect")
)


class ClientGone(Exception):
    """The client has closed its connection; there is nobody to answer."""


class Carrier:
    """One request on its way.

    Args:
        receive: gives the client's body.
        on_piece: called whenever something came back.
        on_end: called once, when it is over.
    """

    def __init__(
        self, receive: Receive, on_piece: Callable[[], None] | None = None, on_end: Callable[[], None] | None = None
    ) -> None:
        self._receive = receive
        self._on_piece = on_piece
        self._on_end = on_end
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Task[None] | None = None

    async def carry(
        self, connections: httpcore.AsyncConnectionPool, method: str, url: httpcore.URL, headers: Headers
    ) -> Answer:
        """Send it; return the answer as soon as its head is here, its body as what follows.

        Raises:
            ClientGone: before the head came.
            httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException: the connection failed.
        """
        sent = [each for each in headers if each[0] not in _OF_THE_CONNECTION]
        question = httpcore.Request(method.encode(), url, headers=sent, content=self._body())
        try:
            response = await self._unless_gone(connections.handle_async_request(question))
        except BaseException:
            self._end()
            raise
        self._note_piece()
        return Answer(response.status, _answered(response.headers), rest=self._rest(response))

    async def _rest(self, response: httpcore.Response) -> AsyncIterator[bytes]:
        """The answer's body; raises ZepidError where its end is missing."""
        pieces = response.aiter_stream()
        try:
            while piece := await self._unless_gone(_next(pieces)):
                self._note_piece()
                yield piece
        except ClientGone:
            return
        except CUT_OFF as error:
            raise ZepidError("WORKER_FAILED", f"the answer was cut off: {error}") from error
        finally:
            self._end()
            with suppress(*CUT_OFF):
                await response.aclose()

    async def _body(self) -> AsyncIterator[bytes]:
        """What the client sends, as it comes; from its end on it is seen whether the client leaves."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if piece := message.get("body", b""):
                yield piece
            more = message.get("more_body", False)
        self._waiting = asyncio.create_task(self._see_off())

    async def _unless_gone(self, answer: Coroutine[Any, Any, Result]) -> Result:
        """Wait for something; no longer when the client leaves."""
        task = asyncio.create_task(answer)
        try:
            either: tuple[asyncio.Future[Any], ...] = (task, self._left)
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGone
            return task.result()
        finally:
            task.cancel()

    async def _see_off(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left.set_result(None)

    def _note_piece(self) -> None:
        if self._on_piece is not None:
            self._on_piece()

    def _end(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        if self._on_end is not None:
            self._on_end()


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    """The next piece, b"" after the last."""
    return await anext(pieces, b"")


def _answered(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The answer's headers; which release it is of only the edge says."""
    lowered = ((name.lower(), value) for name, value in headers)
    return [each for each in lowered if each[0] not in _OF_THE_CONNECTION and each[0] != RELEASE_HEADER.encode()]
