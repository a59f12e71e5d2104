"""Every error answer is made here, in the one shape that callers know; nothing internal leaves."""

import re
import time
from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.openapi.datastructures import ResponseSpec

from services.gateway.methods import methods_at
from services.gateway.request_id import request_id
from shared.adapters.postgres.database import DATABASE_AWAY
from shared.contracts.errors import ZepidError
from shared.telemetry import log
from shared.times import iso_time

_TITLES = {
    "UNAUTHORIZED": "Unauthorized",
    "FORBIDDEN": "Forbidden",
    "PROJECT_NOT_FOUND": "Project not found",
    "DEPLOYMENT_IN_PROGRESS": "Deployment in progress",
    "RATE_LIMITED": "Too Many Requests",
}
_FIRST_WORDS = {400: "Validation error", 404: "Resource not found", 500: "Internal server error"}
"""What the first version said, to those who ask in its form."""
_RETRY_SECONDS = 2
MISSING_FIELD = re.compile(r"missing required field `(\w+)`")

AnyRequest = Request[Any, Any, Any]


class ErrorBody(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What every error answer holds.

    Attributes:
        error: a code, or the title that clients of the original service know.
        message: what happened and what to do.
        details: of a validation error: `formErrors` and `fieldErrors`.
        request_id: finds the request in the service's log.
    """

    success: bool
    error: str
    message: str
    timestamp: str
    request_id: str
    details: dict[str, Any] | None = None
    deployment_id: str | None = None
    retry_after: int | None = None


class ValidationFailed(ZepidError):
    """The request's fields are wrong: field → what is wrong with it."""

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        details = {"formErrors": [], "fieldErrors": dict(fields)}
        super().__init__("INVALID_REQUEST", "Request validation failed", details=details)


class RateLimited(ZepidError):
    """A user deploys a project too often: at most `limit` in `window_seconds`."""

    def __init__(self, limit: int, window_seconds: int, retry_after: int) -> None:
        message = "Deployment rate limit exceeded. Please wait before trying again."
        super().__init__("RATE_LIMITED", message, retry_after=retry_after)
        self.headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Window": str(window_seconds)}


def error_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the error answers of a route for the OpenAPI document."""
    return {
        status: ResponseSpec(ErrorBody, description=MEANINGS[status], generate_examples=False) for status in statuses
    }


def answer(request: AnyRequest, error: ZepidError, status: int | None = None) -> Response[ErrorBody]:
    """Return an error as its HTTP answer."""
    code = error.code
    status = status or code.status
    title = "Validation Error" if isinstance(error, ValidationFailed) else _TITLES.get(code.name, code.name)
    details = dict(error.details or {})
    retry_after = error.retry_after or (_RETRY_SECONDS if status == 503 else None)
    body = ErrorBody(
        success=False,
        error=title,
        message=_FIRST_WORDS.get(status, error.message) if "instanceId" in request.query_params else error.message,
        timestamp=iso_time(time.time()),
        request_id=request_id(request.scope),
        deployment_id=details.pop("deploymentId", None),
        details=details or None,
        retry_after=retry_after,
    )
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    if isinstance(error, RateLimited):
        headers |= error.headers
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _on_zepid_error(request: AnyRequest, error: ZepidError) -> Response[ErrorBody]:
    if error.code.status >= 500:
        log.warning("request failed", path=request.url.path, code=error.code.name, error=error.message)
    return answer(request, error)


def _on_database_away(request: AnyRequest, error: Exception) -> Response[ErrorBody]:
    log.error("database away", path=request.url.path, error=str(error) or type(error).__name__)
    return answer(request, ZepidError("SERVICE_UNAVAILABLE", "The database does not answer; try again in a moment"))


def _on_unusable_value(request: AnyRequest, error: Exception) -> Response[ErrorBody]:
    """A number that no column can hold, or the like; what is expected to be wrong is refused before."""
    log.warning("unusable value", path=request.url.path, error=str(error))
    return answer(request, ZepidError("INVALID_REQUEST", "A value of the request is too large, or not usable as text"))


def _on_http_exception(request: AnyRequest, error: HTTPException) -> Response[ErrorBody]:
    """What Litestar itself refuses, in our words."""
    what = f"{request.method} {request.url.path}"
    match error:
        case ValidationException():
            return answer(request, ValidationFailed(_fields(error)))
        case NotFoundException():
            return answer(request, ZepidError("NOT_FOUND", f"There is no {what}; GET /docs shows what there is"))
        case MethodNotAllowedException():
            refusal = answer(
                request, ZepidError("INVALID_REQUEST", f"{what} is not possible; GET /docs shows what is"), 405
            )
            refusal.headers["Allow"] = ", ".join(methods_at(request.app, request.scope["path"]))
            return refusal
        case RequestEntityTooLarge():
            return answer(request, ZepidError("PAYLOAD_TOO_LARGE", f"The body is larger than {what} takes"))
        case HTTPException(status_code=status) if status < 500:
            return answer(request, ZepidError("INVALID_REQUEST", f"The request can't be read: {error.detail}"), status)
    return _on_defect(request, error)


def _on_defect(request: AnyRequest, error: Exception) -> Response[ErrorBody]:
    log.error("request failed by a defect", method=request.method, path=request.url.path, exc_info=error)
    return answer(
        request, ZepidError("INTERNAL_ERROR", "An unexpected error occurred; the request id finds it in the log")
    )


def _fields(error: ValidationException) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for found in error.extra if isinstance(error.extra, list) else []:
        missing = MISSING_FIELD.search(found["message"])
        name = missing[1] if missing else found.get("key", "body")
        fields.setdefault(name, []).append("Required" if missing else found["message"])
    return fields


MEANINGS = {
    400: "The request is wrong; `details.fieldErrors` names the fields",
    401: "No valid token",
    403: "The token may not do this",
    404: "There is no such thing, or the token's organisation does not own it",
    409: "It does not fit the present state; `deploymentId` names the deployment that is in the way",
    412: "It is not what `If-Match` names any more",
    413: "The body is too large",
    422: "The `Idempotency-Key` was sent before with another body",
    429: "Too often, or queue or quota of the organisation is used up; `Retry-After`, if there, says when to try again",
    501: "This service is not set up for it",
    502: "It was not seen live at its address; all is as it was before",
    507: "There is no room for another deployment",
    503: "A dependency is away; `Retry-After` says when to try again",
}

EXCEPTION_HANDLERS: dict[Any, Any] = {
    asyncpg.DataError: _on_unusable_value,
    ZepidError: _on_zepid_error,
    HTTPException: _on_http_exception,
    **dict.fromkeys((*DATABASE_AWAY, asyncpg.TooManyConnectionsError), _on_database_away),
    Exception: _on_defect,
}
