"""Sends an answer over ASGI."""

from collections.abc import AsyncIterator

from services.edge.answers import Answer
from services.edge.contents import Chunk
from shared.asgi import Scope, Send
from shared.contracts.errors import ZepidError
from shared.telemetry import log


async def send_answer(answer: Answer, scope: Scope, send: Send) -> None:
    """Send all of it, as the method wants it."""
    body = b"" if scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    if answer.file is not None:
        with answer.file["file"]:
            return await send({**answer.file})
    await send({"type": "http.response.body", "body": body, "more_body": answer.rest is not None})
    if answer.rest is not None:
        await _send_rest(answer.rest, scope["path"], send)


async def _send_rest(rest: AsyncIterator[Chunk], path: str, send: Send) -> None:
    """Send what follows; where the end is missing the server cuts the connection, so nobody takes it as whole."""
    try:
        async for chunk in rest:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except ZepidError as error:
        log.warning("the edge could not go on", path=path, error=error.message)
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})
