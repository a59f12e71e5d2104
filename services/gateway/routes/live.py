"""Server-sent events: a deployment's status and its log as they happen."""

from typing import Annotated

from litestar import get
from litestar.params import FromPath, HeaderParameter

from services.gateway.auth import READ
from services.gateway.errors import error_responses
from services.gateway.event_stream import EventStream
from services.gateway.live import Live
from services.gateway.lookup import visible_deployment
from services.gateway.ports import GatewayRequest
from services.gateway.routes.logs import line_number

LastEventId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", description="Resume after the event of this id")
]


@get(
    "/deploy/{deployment_id:str}/events",
    opt=READ,
    tags=["Logs and events"],
    summary="Follow a deployment's status",
    responses=error_responses(401, 404, 503),
)
async def events(
    request: GatewayRequest, deployment_id: FromPath[str], last_event_id: LastEventId = None
) -> EventStream:
    """Send `status` (the body of the status route) at each change, and `end` when it is over."""
    live = Live(request.gateway, await visible_deployment(request, deployment_id))
    return EventStream(live.statuses(_sequence(last_event_id)), request.is_still_admitted)


@get(
    "/deploy/{deployment_id:str}/logs/stream",
    opt=READ,
    tags=["Logs and events"],
    summary="Follow a deployment's log",
    responses=error_responses(401, 404, 503),
)
async def log_stream(
    request: GatewayRequest, deployment_id: FromPath[str], last_event_id: LastEventId = None
) -> EventStream:
    """Send `log` for each line, `gap` where lines were lost, and `end` (`{status}`) when it is over."""
    live = Live(request.gateway, await visible_deployment(request, deployment_id))
    return EventStream(live.lines(_sequence(last_event_id)), request.is_still_admitted)


def _sequence(last_event_id: str | None) -> int:
    return line_number(last_event_id or "0", "Last-Event-ID")


HANDLERS = [events, log_stream]
