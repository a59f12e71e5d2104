"""One connection to the service: requests, answers, and errors in the client's words."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import httpx
import msgspec

from shared.client.errors import ServerAway, error_of

_T = TypeVar("_T")
_JSON = {"content-type": "application/json"}
_CONNECTIONS = 16


class Transport:
    """Speaks HTTP with one token.

    Both ways to ask raise `ApiError` when the service refuses and `ServerAway` when nobody answers.
    """

    def __init__(self, base_url: str, token: str, timeout: float) -> None:
        self.base_url = base_url.rstrip("/")
        self.http = httpx.AsyncClient(
            base_url=self.base_url,
            verify=httpx.URL(self.base_url).scheme != "http",
            trust_env=not is_loopback(self.base_url),
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout, connect=5.0),
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def ask(
        self, method: str, path: str, answer: type[_T], *, json: Any = None, params: dict[str, Any] | None = None
    ) -> _T:
        """Send JSON and return the answer as the type that is expected; parameters that are None are left out."""
        content = None if json is None else msgspec.json.encode(json)
        response = await self.send(method, path, content=content, headers=_JSON if content else None, params=params)
        try:
            return msgspec.json.decode(response.content, type=answer)
        except msgspec.DecodeError as error:
            raise ServerAway(self.base_url, f"what answers {method} {path} there is no Zepid server: {error}") from None

    async def send(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, **content: Any
    ) -> httpx.Response:
        """Send anything and return a successful response; parameters that are None are left out."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            response = await self.http.request(method, path, params=given, **content)
        except httpx.TransportError as error:
            raise ServerAway(self.base_url, str(error) or type(error).__name__) from None
        if not response.is_success:
            raise error_of(response)
        return response

    async def stream(self, path: str, params: dict[str, Any]) -> AsyncIterator[bytes]:
        """Yield the body of a successful answer as it comes."""
        try:
            async with self.http.stream("GET", path, params=params) as response:
                if not response.is_success:
                    await response.aread()
                    raise error_of(response)
                async for piece in response.aiter_bytes():
                    yield piece
        except httpx.TransportError as error:
            raise ServerAway(self.base_url, str(error) or type(error).__name__) from None


def is_loopback(url: str) -> bool:
    """Whether the server is this machine, which no proxy of the environment can reach."""
    host = httpx.URL(url).host
    return host in ("localhost", "::1") or host.startswith("127.")
