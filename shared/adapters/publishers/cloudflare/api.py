"""Cloudflare's API: one call, its envelope, and which failures are worth another try."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from shared.contracts.errors import ZepidError
from shared.settings import Settings

TRIES = 3
LONGEST_PAUSE = 60.0
"""Seconds of a Retry-After that are waited here; a longer one is left to the step's own retry."""
TIMEOUT = httpx.Timeout(60.0, connect=10.0, write=120.0, pool=None)

Part = tuple[str, tuple[str | None, bytes, str | None]]
"""A part of a multipart body: its name, and file name (None for a plain field), bytes, media type."""

_MISSING = frozenset({7003, 10007, 10043, 10090, 10092})


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    success: bool = False
    errors: list[_Error] = []
    result: Any = None


class CloudflareRefusal(ZepidError):
    """An answer of Cloudflare that is no success.

    Attributes:
        status: of the answer.
        reason: Cloudflare's own code, 0 if it gave none.
    """

    def __init__(self, code: str, message: str, status: int, reason: int, retry_after: int | None = None) -> None:
        super().__init__(code, message, retry_after=retry_after)
        self.status = status
        self.reason = reason

    @property
    def is_missing(self) -> bool:
        """Whether what was asked for does not exist."""
        return self.status == 404

    @property
    def is_unauthorized(self) -> bool:
        """Whether the token was refused."""
        return self.status in (401, 403)


Pause = Callable[[float], Awaitable[None]]
"""Waits so many seconds; tests have a faster one."""


@asynccontextmanager
async def open_api(settings: Settings, pause: Pause = asyncio.sleep) -> AsyncIterator["CloudflareApi"]:
    """Connect to the API for the length of a block."""
    async with httpx.AsyncClient(timeout=TIMEOUT) as client:
        yield CloudflareApi(settings, client, pause)


class CloudflareApi:
    """Calls of one account. The token leaves this object only in the header of a request."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, pause: Pause) -> None:
        self.account = f"/accounts/{settings.cloudflare_account_id}"
        self._base = settings.cloudflare_api_url.rstrip("/")
        self._token = settings.cloudflare_api_token
        self._client = client
        self._pause = pause

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        parts: Sequence[Part] = (),
        token: str = "",
        first_pause: float = 0.0,
        tries: int = TRIES,
    ) -> Any:
        """Make a call, again where that may help, and return the result in the envelope.

        Args:
            method: of HTTP.
            path: below the API's address.
            json: the body, or
            parts: of a multipart body.
            token: instead of the account's.
            first_pause: seconds after the first failure; doubled after each. 0: none, then a second more each time.
            tries: how often it is tried.

        Raises:
            ZepidError: PUBLISH_FAILED, PUBLISH_RATE_LIMITED, PUBLISH_REJECTED, PUBLISH_UNAUTHORIZED,
                PUBLISH_TARGET_MISSING; a `CloudflareRefusal` where Cloudflare answered.
        """
        request = self._request(method, path, json, parts, token or self._token)
        tried = 0
        while isinstance(answer := await self._try(request), ZepidError):
            pause = _pause_after(answer, tried, first_pause)
            tried += 1
            if tried >= tries or pause is None:
                raise answer
            await self._pause(pause)
        return answer.result

    def _request(self, method: str, path: str, json: Any, parts: Sequence[Part], token: str) -> httpx.Request:
        headers = {"authorization": f"Bearer {token}"}
        if parts:
            request = self._client.build_request(method, self._base + path, files=list(parts), headers=headers)
            request.read()  # one body instead of a write for every part
            return request
        return self._client.build_request(method, self._base + path, json=json, headers=headers)

    async def _try(self, request: httpx.Request) -> _Envelope | ZepidError:
        what = f"{request.method} {request.url.path}"
        try:
            answer = await self._client.send(request)
        except httpx.TransportError as error:
            return ZepidError("PUBLISH_FAILED", f"Cloudflare gave no answer to {what} ({type(error).__name__})")
        envelope = _read(answer)
        return envelope if answer.is_success and envelope.success else self._refusal(what, answer, envelope)

    def _refusal(self, what: str, answer: httpx.Response, envelope: _Envelope) -> CloudflareRefusal:
        said = "; ".join(f"{error.message} [code: {error.code}]" for error in envelope.errors)
        reason = envelope.errors[0].code if envelope.errors else 0
        message = f"Cloudflare answered {answer.status_code} to {what}: {said or 'no explanation'}"
        code = _code_of(answer.status_code, reason)
        return CloudflareRefusal(code, self._without_token(message), answer.status_code, reason, _retry_after(answer))

    def _without_token(self, message: str) -> str:
        return message.replace(self._token, "…") if self._token else message


def _read(answer: httpx.Response) -> _Envelope:
    try:
        return msgspec.json.decode(answer.content, type=_Envelope)
    except msgspec.DecodeError:
        return _Envelope()


def _code_of(status: int, reason: int) -> str:
    if status == 429:
        return "PUBLISH_RATE_LIMITED"
    if status >= 500 or status < 400:
        return "PUBLISH_FAILED"
    if status in (401, 403):
        return "PUBLISH_UNAUTHORIZED"
    return "PUBLISH_TARGET_MISSING" if status == 404 or reason in _MISSING else "PUBLISH_REJECTED"


def _retry_after(answer: httpx.Response) -> int | None:
    """Read Retry-After, seconds or a date."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return int(value)
    try:
        return max(0, round((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()))
    except (ValueError, TypeError):
        return None


def _pause_after(failure: ZepidError, tried: int, first_pause: float) -> float | None:
    """Return how long to wait before another try; None when none is worth it."""
    if isinstance(failure, CloudflareRefusal) and failure.status < 500 and failure.status != 429:
        return None
    if failure.retry_after is not None:
        return failure.retry_after + random.random() if failure.retry_after <= LONGEST_PAUSE else None
    if first_pause:
        return math.ldexp(first_pause, tried)
    return max(tried, 1.0) + random.random() if failure.code.name == "PUBLISH_RATE_LIMITED" else float(tried)
