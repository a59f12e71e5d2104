"""A receiver of webhooks over real HTTP, which believes only what is signed."""

import asyncio
import base64
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from standardwebhooks import Webhook

from tests.waiting import until

KEY = base64.urlsafe_b64encode(bytes(32)).decode()
"""Seals the secrets of tests."""
HANG = 0
"""An answer that never comes."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that arrived and was signed with the secret of its path."""

    path: str
    id: str
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def type(self) -> str:
        return str(self.body["type"])


@dataclass
class Endpoint:
    """Answers 200, or what the script of a path says next; keeps every message, also those it then refuses.

    Attributes:
        secrets: what the messages to a path must be signed with.
        script: the next answers of a path: HTTP statuses, or `HANG`.
    """

    url: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    script: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    messages: list[Message] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def at(self, path: str) -> list[Message]:
        return [message for message in self.messages if message.path == path]

    async def arrived(self, path: str, count: int = 1, within: float = 15.0) -> list[Message]:
        """Wait until so many messages have come to a path; return them."""

        async def enough() -> bool:
            return len(self.at(path)) >= count

        await until(enough, within)
        return self.at(path)

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            if part["type"] == "http.disconnect":
                return
            body, more = body + part.get("body", b""), part.get("more_body", False)
        path = scope["path"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        signed = Webhook(self.secrets[path]).verify(body, headers)
        self.messages.append(Message(path, headers["webhook-id"], signed, headers))
        status = self.script[path].pop(0) if self.script[path] else 200
        if status == HANG:
            await self.closing.wait()
        extra = [(b"location", f"{self.url}/elsewhere".encode())] if 300 <= status < 400 else []
        await send({"type": "http.response.start", "status": status or 500, "headers": extra})
        await send({"type": "http.response.body", "body": b"thank you"})


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """Run a receiver on a free port of the loopback interface."""
    receiver = Endpoint()
    config = uvicorn.Config(receiver, port=0, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await until(started)
    receiver.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        receiver.closing.set()
        server.should_exit = True
        await serving
