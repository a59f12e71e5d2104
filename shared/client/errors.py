"""What can go wrong between a client and the service."""

from typing import Any

import httpx
import msgspec

from shared.contracts.errors import CODES


class ClientError(Exception):
    """Root of the client's errors; its text is a sentence for people."""


class ServerAway(ClientError):
    """Nobody answers at the service's address, or the connection broke.

    Attributes:
        url: the address that was asked.
        reason: what the network said.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"No Zepid server answers at {url} ({reason}). Start one with `zepid up`, "
            "or name another with ZEPID_URL and ZEPID_TOKEN."
        )
        self.url = url
        self.reason = reason


class ApiError(ClientError):
    """The service refused a request.

    Attributes:
        status: HTTP status.
        error: the service's short name of the error.
        message: what happened.
        details: more of it, such as `fieldErrors`; {} if there is none.
        request_id: finds the request in the service's log.
        body: the whole answer, {} if it wasn't JSON.
    """

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        details: dict[str, Any] | None = None,
        request_id: str = "",
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{error}: {message}" if error else message)
        self.status = status
        self.error = error
        self.message = message
        self.details = details or {}
        self.request_id = request_id
        self.body = body or {}

    @property
    def code(self) -> str:
        """The row of the error table that fits: the one the service named, else by HTTP status."""
        named = (self.body.get("code"), self.error, self.details.get("code"))
        by_status = (code.name for code in CODES.values() if code.status == self.status)
        return next((name for name in named if name in CODES), None) or next(by_status, "INTERNAL_ERROR")

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.status == 429 or self.status >= 500

    @property
    def retry_after(self) -> int | None:
        """Seconds the service asks to wait, if it does."""
        value = self.body.get("retryAfter")
        return int(value) if isinstance(value, int | float) else None


def error_of(response: httpx.Response) -> ApiError:
    """Read an error answer, whose body has been received; one that isn't ours keeps its first line."""
    try:
        body = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        text = response.text.strip().partition("\n")[0][:200]
        body = {"message": text or "The answer has no text."}
    details = body.get("details")
    return ApiError(
        response.status_code,
        str(body.get("error") or f"HTTP {response.status_code}"),
        str(body.get("message") or response.reason_phrase),
        details if isinstance(details, dict) else {},
        str(body.get("requestId") or response.headers.get("x-request-id", "")),
        body,
    )
