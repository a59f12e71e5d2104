"""What waits where, and the switch that stops admission."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import Body
from litestar.status_codes import HTTP_200_OK

from services.gateway.access.caller import Caller
from services.gateway.auth import ADMIN, READ
from services.gateway.backlog import ActorBacklog, backlog, dead_letters
from services.gateway.errors import error_responses
from services.gateway.ports import GatewayPorts, GatewayRequest
from shared.contracts.errors import ZepidError
from shared.settings import Settings
from shared.times import iso_time

_RESUMED = "resumed"
"""Stands in the wake-up of intake where a deployment's id would."""


class PauseBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Admission is stopped for an organisation, without one for everyone."""

    organization_id: str | None
    paused_by: str
    paused_at: str


class WaitingBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The deployments of an organisation that wait; of it `running` hold a slot, `limit` may."""

    organization_id: str
    waiting: int
    oldest_age_seconds: float
    running: int
    limit: int


class RepairBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How often a repair of the reconciler mended something, and when it last did."""

    count: int
    last_at: str


class QueueBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The queue: each actor's backlog, who waits for admission, what was repaired, the configuration in force."""

    actors: dict[str, ActorBacklog]
    waiting: list[WaitingBody]
    running: int
    paused: list[PauseBody]
    dead_letters: int
    repairs: dict[str, RepairBody]
    configuration: dict[str, float]


class PausedBody(msgspec.Struct, frozen=True, kw_only=True):
    """For whom admission is stopped now."""

    paused: list[PauseBody]
    success: bool = True


class PauseOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whose admission is meant: one organisation's; without `orgId` everyone's."""

    org_id: str | None = None


Order = Annotated[PauseOrder | None, Body(description="One organisation, or without a body everyone")]


@get("/status/queue", opt=READ, tags=["Operations"], summary="Look at the queue", responses=error_responses(401, 503))
async def queue(request: GatewayRequest) -> QueueBody:
    """Return what waits where; a token of one organisation sees who waits of its own only."""
    ports, settings = request.ports, request.ports.settings
    return QueueBody(
        actors=await backlog(ports.bus),
        waiting=[
            WaitingBody(**msgspec.structs.asdict(row), limit=settings.max_concurrent_per_organization)
            for row in await ports.overview.waiting(request.caller.organization_id)
        ],
        running=await ports.overview.running(),
        paused=await _pauses(ports, request.caller),
        dead_letters=await dead_letters(ports.bus),
        repairs={
            repair.name: RepairBody(count=repair.repaired, last_at=iso_time(repair.last_at))
            for repair in await ports.overview.repairs()
        },
        configuration=_configuration(settings),
    )


@post(
    "/status/queue/pause",
    status_code=HTTP_200_OK,
    opt=ADMIN,
    tags=["Operations"],
    summary="Let nothing more start",
    responses=error_responses(400, 401, 403, 503),
)
async def pause(request: GatewayRequest, data: Order = None) -> PausedBody:
    """Stop the admission of an organisation's deployments, or of all; what runs goes on, what comes waits."""
    organization_id = _meant(request.caller, data)
    await request.ports.overview.pause(organization_id, request.caller.user_id)
    return PausedBody(paused=await _pauses(request.ports, request.caller))


@post(
    "/status/queue/resume",
    status_code=HTTP_200_OK,
    opt=ADMIN,
    tags=["Operations"],
    summary="Let deployments start again",
    responses=error_responses(400, 401, 403, 503),
)
async def resume(request: GatewayRequest, data: Order = None) -> PausedBody:
    """Take a pause back; the pause of everyone and those of organisations end separately."""
    await request.ports.overview.resume(_meant(request.caller, data))
    request.gateway.waker.wake(_RESUMED, "")
    return PausedBody(paused=await _pauses(request.ports, request.caller))


def _meant(caller: Caller, order: PauseOrder | None) -> str | None:
    """Return the organisation, None for everyone; raises FORBIDDEN."""
    organization_id = (order.org_id if order else None) or None
    if organization_id:
        caller.must_act_for(organization_id)
    elif caller.organization_id is not None:
        raise ZepidError("FORBIDDEN", "A token of one organisation may not do this for everyone; name its `orgId`")
    return organization_id


async def _pauses(ports: GatewayPorts, caller: Caller) -> list[PauseBody]:
    return [
        PauseBody(organization_id=pause.organization_id, paused_by=pause.paused_by, paused_at=iso_time(pause.paused_at))
        for pause in await ports.overview.pauses(caller.organization_id)
    ]


def _configuration(settings: Settings) -> dict[str, float]:
    return {
        "maxConcurrentDeployments": settings.max_concurrent_deployments,
        "maxConcurrentPerOrganization": settings.max_concurrent_per_organization,
        "maxWaitingPerOrganization": settings.max_waiting_per_organization,
        "maxWaitingTime": settings.max_waiting_time,
        "maxDeploymentTimeout": settings.max_deployment_timeout,
        "maxBatchSize": settings.max_batch_size,
        "maxBatchTimeout": settings.max_batch_timeout,
        "maxRetries": settings.max_retries,
    }


HANDLERS = [queue, pause, resume]
