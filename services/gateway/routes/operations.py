"""What operators ask: how the service is doing, which deployments there are."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter

from services.gateway.auth import READ
from services.gateway.errors import error_responses
from services.gateway.overview import Glance
from services.gateway.paging import read_page
from services.gateway.ports import GatewayRequest
from services.gateway.routes.service import SERVICE_NAME
from services.gateway.status import step_of_word, word_of
from shared.telemetry import SERVICE_VERSION
from shared.times import iso_time

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = r"^([0-9]{1,16}_[A-Za-z0-9_-]{1,100})?$"


class DeploymentRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A deployment in a list; `duration` in milliseconds."""

    deployment_id: str
    project_id: str
    project_name: str
    organization_id: str
    status: str
    progress: int
    created_at: str
    started_at: str
    completed_at: str | None = None
    duration: int | None = None
    worker_url: str | None = None


class StatusOverview(Glance, frozen=True, kw_only=True, rename="camel"):
    """The service at a glance; `uptime` of this gateway in milliseconds."""

    service: str
    version: str
    uptime: int
    timestamp: str


class DeploymentPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Deployments, newest first; `next_cursor` asks for the next page."""

    deployments: list[DeploymentRow]
    next_cursor: str | None = None


@get(
    "/status/deployments",
    opt=READ,
    tags=["Operations"],
    summary="List deployments",
    responses=error_responses(400, 401, 403, 503),
)
async def deployments(
    request: GatewayRequest,
    status: Annotated[str | None, QueryParameter(description="Only those that show this status word")] = None,
    org_id: Annotated[str | None, QueryParameter(name="orgId")] = None,
    project_id: Annotated[str | None, QueryParameter(name="projectId")] = None,
    cursor: Annotated[
        str | None, QueryParameter(pattern=_CURSOR, description="`nextCursor` of the page before")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> DeploymentPage:
    """Return the deployments of the token's organisation, newest first."""
    if org_id:
        request.caller.must_act_for(org_id)
    before, before_id = _read_cursor(cursor)
    wanted = partial(
        request.ports.deployments.recent,
        organization_id=org_id or request.caller.organization_id,
        project_id=project_id,
        shown=step_of_word(status) if status else None,
        before=before,
        before_id=before_id,
    )
    rows, next_cursor = await read_page(limit, lambda count: wanted(limit=count), _cursor)
    return DeploymentPage([_row(row) for row in rows], next_cursor)


@get(
    "/status",
    opt=READ,
    tags=["Operations"],
    summary="The service at a glance",
    responses=error_responses(401, 403, 503),
)
async def overview(request: GatewayRequest) -> StatusOverview:
    """Return how many deployments wait, run and ended, and how long the steps take; a few seconds old at most.

    A token of one organisation sees the figures of its own deployments.
    """
    glance = await request.gateway.glances.of(request.caller.organization_id)
    return StatusOverview(
        service=SERVICE_NAME,
        version=SERVICE_VERSION,
        uptime=request.gateway.health.uptime_ms,
        timestamp=iso_time(time.time()),
        **{name: getattr(glance, name) for name in Glance.__struct_fields__},
    )


def _row(row: dict[str, Any]) -> DeploymentRow:
    finished = bool(row["finished"])
    accepted, ended = row["accepted_at"].timestamp(), row["finished_at"]
    return DeploymentRow(
        deployment_id=row["id"],
        project_id=row["project_id"],
        project_name=row["project_name"],
        organization_id=row["organization_id"],
        status=word_of(row["stage"], finished, row["outcome"]),
        progress=row["progress"] or 0,
        created_at=iso_time(accepted),
        started_at=iso_time(accepted),
        completed_at=iso_time(ended.timestamp()) if ended else None,
        duration=round((ended.timestamp() - accepted) * 1000) if ended else None,
        worker_url=row["url"] if finished and row["outcome"] == "completed" else None,
    )


def _cursor(row: dict[str, Any]) -> str:
    since = row["accepted_at"] - _EPOCH
    return f"{since // timedelta(microseconds=1)}_{row['id']}"


def _read_cursor(cursor: str | None) -> tuple[datetime | None, str | None]:
    if not cursor:
        return None, None
    moment, _, deployment_id = cursor.partition("_")
    return _EPOCH + timedelta(microseconds=int(moment)), deployment_id


HANDLERS = [overview, deployments]
