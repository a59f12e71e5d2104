"""Starting a deployment, and where it stands."""

import time
from typing import Annotated
from uuid import uuid4

import msgspec
from litestar import get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, FromQuery, QueryParameter
from litestar.status_codes import HTTP_200_OK
from opentelemetry.trace import SpanKind

from services.gateway.auth import DEPLOY, READ, checked_first
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.lookup import PROJECT_NOT_FOUND, DeploymentRow, visible_deployment
from services.gateway.orders import DeployOrder, check_order
from services.gateway.ports import GatewayRequest
from services.gateway.status import FirstForm, StatusBody, first_form
from shared.adapters.postgres.deployments import Verdict
from shared.contracts.errors import ZepidError
from shared.telemetry import TRACEPARENT, current_traceparent, span
from shared.times import iso_time

_ORDER = Example(
    summary="The latest source of a project",
    value={"projectId": "my-site-x1y2z3", "orgId": "acme", "userId": "ada"},
)
_IN_PROGRESS = (
    "Cannot start new deployment. Project is currently in '{state}' state. "
    "Please wait for the current deployment to complete."
)


class DeployAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A recorded deployment: `deploymentId` for current clients, `id` and `details` for first ones."""

    deployment_id: str
    id: str
    timestamp: str
    success: bool = True
    status: str = "queued"
    message: str = "Deployment initiated successfully"
    details: dict[str, str] = msgspec.field(default_factory=lambda: {"status": "queued"})


class FirstFormAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A status as `POST /deploy?instanceId=` gave it in the first version."""

    id: str
    details: FirstForm
    success: bool = True


class FirstFormStatus(msgspec.Struct, frozen=True):
    """A status as `GET /deploy-status?instanceId=` gave it in the first version."""

    status: FirstForm


@post(
    "/deploy",
    status_code=200,
    opt=checked_first(DEPLOY, check_order),
    tags=["Deployments"],
    summary="Deploy a project",
    responses=error_responses(400, 401, 403, 404, 409, 503),
)
async def deploy(
    request: GatewayRequest,
    data: Annotated[DeployOrder | None, Body(examples=[_ORDER])] = None,
    instance_id: Annotated[
        str | None, QueryParameter(name="instanceId", description="First version: ask for a status")
    ] = None,
) -> DeployAnswer | FirstFormAnswer:
    """Record a deployment of a project's source. It runs by itself from here; watch its events."""
    if instance_id is not None or data is None:
        row = await visible_deployment(request, instance_id or "")
        return FirstFormAnswer(id=row.id, details=first_form(row.body()))
    request.caller.must_act_for(data.org_id)
    deployment_id = f"deploy_{uuid4().hex}"
    given = request.headers.get(TRACEPARENT, "")
    attributes = {
        "http.request.method": "POST",
        "http.route": "/deploy",
        "url.path": request.url.path,
        "url.scheme": request.url.scheme,
        "zepid.deployment.id": deployment_id,
        "zepid.project.id": data.project_id,
    }
    with span("POST /deploy", given, kind=SpanKind.SERVER, attributes=attributes) as current:
        refusal = await _accept(request, data, deployment_id, current_traceparent(given))
        current.set_attribute("http.response.status_code", refusal.code.status if refusal else HTTP_200_OK)
    if refusal:
        raise refusal
    return DeployAnswer(deployment_id=deployment_id, id=deployment_id, timestamp=iso_time(time.time()))


async def _accept(
    request: GatewayRequest, order: DeployOrder, deployment_id: str, traceparent: str
) -> ZepidError | None:
    """Record the deployment, then wake intake without waiting for the broker; return why not, if not."""
    ports = request.ports
    verdict = await ports.deployments.accept(
        id=deployment_id,
        project_id=order.project_id,
        organization_id=order.org_id,
        user_id=order.user_id,
        priority=order.priority,
        target=order.target,
        snapshot_id=order.source.id if order.source else None,
        traceparent=traceparent,
        max_waiting=ports.settings.max_waiting_per_organization,
    )
    if verdict.verdict != "accepted":
        return _refusal(verdict)
    request.gateway.background.start(
        ports.bus.wake_intake(deployment_id, traceparent), f"waking intake for {deployment_id}"
    )
    return None


def _refusal(verdict: Verdict) -> ZepidError:
    match verdict.verdict:
        case "not_found":
            return ZepidError("PROJECT_NOT_FOUND", PROJECT_NOT_FOUND)
        case "inactive":
            return ZepidError("PROJECT_INACTIVE", "The project is not active")
        case "snapshot_not_found":
            return ValidationFailed({"source": ["The project has no snapshot of this id"]})
        case _:
            message = _IN_PROGRESS.format(state=verdict.active_state)
            return ZepidError("DEPLOYMENT_IN_PROGRESS", message, details={"deploymentId": verdict.active_id})


@get(
    "/deploy/{deployment_id:str}/status",
    opt=READ,
    tags=["Deployments"],
    summary="Where a deployment stands",
    responses=error_responses(401, 404, 503),
)
async def status(request: GatewayRequest, deployment_id: FromPath[str]) -> StatusBody:
    """Return status, progress and steps; on failure `diagnosis` says what to do."""
    return await _status(request, await visible_deployment(request, deployment_id))


@get(
    "/deploy-status",
    opt=READ,
    tags=["Deployments"],
    summary="Where a deployment stands, by query",
    responses=error_responses(400, 401, 404, 503),
)
async def deploy_status(
    request: GatewayRequest,
    id: FromQuery[str | None] = None,
    instance_id: Annotated[str | None, QueryParameter(name="instanceId", description="First version's form")] = None,
) -> StatusBody | FirstFormStatus:
    """Return the same as `GET /deploy/{id}/status`, or with `instanceId` the first version's form."""
    if not id and not instance_id:
        raise ValidationFailed({"id": ["Deployment ID is required"]})
    row = await visible_deployment(request, id or instance_id or "")
    return await _status(request, row) if id else FirstFormStatus(first_form(row.body()))


async def _status(request: GatewayRequest, row: DeploymentRow) -> StatusBody:
    position = row.queue_position
    return row.body(await request.gateway.queue_estimate.seconds(position) if position else None)


HANDLERS = [deploy, status, deploy_status]
