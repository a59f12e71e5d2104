"""The id by which a request is found again: in its answer, in errors and in every log line."""

import re
from uuid import uuid4

from litestar.datastructures import Headers
from litestar.types import Message, Scope
from structlog.contextvars import bind_contextvars

HEADER = "X-Request-Id"
_USABLE = re.compile(r"[\w\-=]{1,255}", re.ASCII)
_RAW = HEADER.lower().encode()
_KEY = "request_id"


def request_id(scope: Scope) -> str:
    """Return the caller's id if it is usable, else one made for this request, and bind it to the log."""
    state = scope["state"]
    if _KEY not in state:
        given = Headers.from_scope(scope).get(HEADER, "")
        state[_KEY] = given if _USABLE.fullmatch(given) else str(uuid4())
        bind_contextvars(request_id=state[_KEY])
    return str(state[_KEY])


async def echo_request_id(message: Message, scope: Scope) -> None:
    """Put the id on the answer (a `before_send` hook)."""
    if message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], (_RAW, request_id(scope).encode())]
