"""A client as patient as real ones should be: what may pass is tried again until it is answered."""

import asyncio
import time
from typing import Any

import httpx
import msgspec

_PATIENCE_SECONDS = 300.0
_AGAIN_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 2.0

Body = dict[str, Any]


class GaveUp(Exception):
    """The service refused for good, or did not answer for minutes; the message says what was asked."""


class Api:
    """One connection pool to the gateway; counts what had to be asked again."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(15.0, connect=5.0),
            trust_env=False,
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=100),
        )
        self.unanswered = 0
        self.refused = 0

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, method: str, path: str, *, json: object = None, data: bytes | None = None) -> tuple[int, Body]:
        """Ask until there is an answer that is not passing (no connection, 429, 5xx); return it."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        content = msgspec.json.encode(json) if json is not None else data
        last = ""
        while time.monotonic() < deadline:
            try:
                response = await self._http.request(method, path, content=content)
            except httpx.TransportError as error:
                self.unanswered += 1
                last = repr(error)
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if response.status_code != 429 and response.status_code < 500:
                return response.status_code, _body(response)
            self.refused += 1
            last = f"{response.status_code} {response.text[:200]}"
            asked_for = float(response.headers.get("retry-after", _AGAIN_SECONDS))
            await asyncio.sleep(min(asked_for, _LONGEST_WAIT_SECONDS))
        raise GaveUp(f"{method} {path} had no answer in {_PATIENCE_SECONDS:.0f} s, at last {last}")

    async def get(self, path: str) -> Body:
        """Ask for what must be there."""
        return succeeded(f"GET {path}", await self.ask("GET", path))

    async def post(self, path: str, json: object) -> Body:
        """Order what must be possible."""
        return succeeded(f"POST {path}", await self.ask("POST", path, json=json))

    async def put(self, path: str, data: bytes) -> None:
        """Send what must be taken."""
        succeeded(f"PUT {path}", await self.ask("PUT", path, data=data))


def succeeded(what: str, answer: tuple[int, Body]) -> Body:
    """Return the body of a good answer; raises GaveUp for another."""
    status, body = answer
    if status >= 400:
        raise GaveUp(f"{what} answered {status}: {body.get('message', '')}")
    return body


def _body(response: httpx.Response) -> Body:
    if not response.content:
        return {}
    try:
        return msgspec.json.decode(response.content, type=Body)
    except msgspec.DecodeError:
        return {"message": response.text[:200]}
