"""The log of a deployment, page by page."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get
from litestar.params import FromPath, QueryParameter

from services.gateway.auth import READ
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.log_reader import LogReader
from services.gateway.lookup import visible_deployment
from services.gateway.openapi import also_answers
from services.gateway.ports import GatewayRequest
from shared.log_lines import NumberedLine

_encode_line = msgspec.json.Encoder().encode


class LogPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Lines in order.

    Attributes:
        next_cursor: asks for the next page, when there are more lines now.
        complete: no line will be added any more.
    """

    deployment_id: str
    logs: list[NumberedLine]
    complete: bool
    next_cursor: str | None = None


@get(
    "/deploy/{deployment_id:str}/logs",
    opt={**READ, **also_answers("application/x-ndjson", "text/plain")},
    tags=["Logs and events"],
    summary="Read a deployment's log",
    responses=error_responses(400, 401, 404, 503),
)
async def logs(
    request: GatewayRequest,
    deployment_id: FromPath[str],
    step: Annotated[str | None, QueryParameter(description="Lines of this step only")] = None,
    cursor: Annotated[
        str | None,
        QueryParameter(pattern=r"^[0-9]{0,18}$", description="`nextCursor` of a page, or the `seq` of a line: read on"),
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=10_000)] = 1000,
    format: Annotated[Literal["json", "ndjson", "text"], QueryParameter()] = "json",
) -> Response[Any]:
    """Return the lines there are now. `ndjson` and `text` name the next cursor in `X-Next-Cursor`."""
    deployment = await visible_deployment(request, deployment_id)
    reader = LogReader(request.ports.bus, request.ports.logs)
    lines, more = await reader.page(deployment.id, line_number(cursor or "0", "cursor"), limit, step)
    next_cursor = str(lines[-1].seq) if more else None
    headers = {"X-Next-Cursor": next_cursor} if next_cursor else {}
    if format == "ndjson":
        body = b"".join(_encode_line(line) + b"\n" for line in lines)
        return Response(body, headers=headers, media_type="application/x-ndjson")
    if format == "text":
        text = "".join(f"{line.timestamp} {line.step:8} {line.message}\n" for line in lines)
        return Response(text, headers=headers, media_type="text/plain")
    page = LogPage(deployment_id=deployment.id, logs=lines, complete=deployment.finished, next_cursor=next_cursor)
    return Response(page, media_type="application/json")


def line_number(text: str, field: str) -> int:
    """Return the number in a cursor or an event id; raises ValidationFailed for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValidationFailed({field: ["Not a cursor of this log"]})
    return int(text)


HANDLERS = [logs]
