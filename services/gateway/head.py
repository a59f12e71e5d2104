"""HEAD: what GET would answer, without its body."""

from typing import Any

from services.gateway.event_stream import DIRECT_SEND


async def answer_head(app: Any, scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Run the GET and send its head only; a stream is told that the caller has left when that is sent."""
    begun = ended = False

    async def send_head(message: dict[str, Any]) -> None:
        nonlocal begun, ended
        if message["type"] == "http.response.start":
            begun = True
            await send(message)
        elif not ended:
            ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive_or_leave() -> Any:
        return {"type": "http.disconnect"} if begun else await receive()

    await app({**scope, "method": "GET", DIRECT_SEND: send_head}, receive_or_leave, send_head)
    if begun and not ended:
        await send_head({"type": "http.response.body"})
