"""Server-sent events that survive a lost connection: resumed by `Last-Event-ID`, with backoff."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import httpx

from shared.client.errors import ApiError, ServerAway, error_of

_BACKOFF_BASE_SECONDS = 0.2
_BACKOFF_CAP_SECONDS = 3.0
_SILENCE_SECONDS = 45.0
"""The service sends a comment every 15 s; three missing ones mean a dead connection."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its name (`message` if unnamed), its data, and the id to resume after it."""

    name: str
    data: str
    id: str = ""


async def parse(chunks: AsyncIterator[bytes]) -> AsyncIterator[ServerEvent]:
    """Cut a byte stream into events.

    Lines end at line feeds only: a log line may hold any of the other characters at which
    Unicode breaks lines.
    """
    rest = b""
    fields: dict[str, list[str]] = {"data": []}
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r").decode(errors="replace")
            if line:
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
                continue
            if fields["data"] or "event" in fields:
                yield _event(fields)
            fields = {"data": []}


def _event(fields: dict[str, list[str]]) -> ServerEvent:
    name, event_id = fields.get("event", ["message"])[-1], fields.get("id", [""])[-1]
    return ServerEvent(name, "\n".join(fields["data"]), event_id)


@dataclass
class Subscription:
    """One stream to follow until its `end` event.

    Attributes:
        http: the client to ask with; its base URL is named in errors.
        path: the stream's path.
        patience: seconds without a connection until it is given up.
        on_lost: told once, with the reason, each time the connection is lost.
    """

    http: httpx.AsyncClient
    path: str
    patience: float
    on_lost: Callable[[str], None] | None = None
    _last_id: str = ""
    _failures: int = 0
    _lost_at: float | None = None

    async def events(self) -> AsyncGenerator[ServerEvent, None]:
        """Yield each event once, the `end` event last.

        Raises:
            ApiError: the service refuses the stream.
            ServerAway: it could not be reached for `patience` seconds.
        """
        while True:
            try:
                async with aclosing(self._connection()) as connection:
                    async for event in connection:
                        self._failures, self._lost_at, self._last_id = 0, None, event.id or self._last_id
                        yield event
                        if event.name == "end":
                            return
                reason = "the stream was closed"
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
            except ApiError as error:
                if not error.is_passing:
                    raise
                reason = str(error)
            await self._wait(reason)

    async def _connection(self) -> AsyncGenerator[ServerEvent, None]:
        headers = {"accept": "text/event-stream"}
        if self._last_id:
            headers["last-event-id"] = self._last_id
        timeout = httpx.Timeout(10, read=_SILENCE_SECONDS)
        async with self.http.stream("GET", self.path, headers=headers, timeout=timeout) as response:
            if response.status_code != 200:
                await response.aread()
                raise error_of(response)
            async for event in parse(response.aiter_bytes()):
                yield event

    async def _wait(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if self._lost_at is None:
            self._lost_at = now
            if self.on_lost:
                self.on_lost(reason)
        if now - self._lost_at > self.patience:
            raise ServerAway(str(self.http.base_url), reason)
        self._failures += 1
        await asyncio.sleep(min(_BACKOFF_CAP_SECONDS, _BACKOFF_BASE_SECONDS * 2**self._failures))
