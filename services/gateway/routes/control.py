"""What a caller can still do about a deployment: cancel it, or deploy its snapshot again."""

import time
from functools import partial

import msgspec
from litestar import post
from litestar.params import FromPath

from services.gateway.acceptance import GATEWAY, DeployAnswer, Wanted, accept
from services.gateway.auth import DEPLOY
from services.gateway.errors import error_responses
from services.gateway.lookup import visible_deployment
from services.gateway.ports import GatewayPorts, GatewayRequest
from shared.adapters.postgres.deployments import Decision
from shared.conclusion import call_off
from shared.contracts.errors import ZepidError
from shared.outage import insist
from shared.times import iso_time


class CancelAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A cancelled deployment; its status says `cancelled` when its processes are dead."""

    deployment_id: str
    timestamp: str
    success: bool = True
    status: str = "cancelled"
    message: str = "Deployment cancelled; what runs of it is being stopped"


@post(
    "/deploy/{deployment_id:str}/cancel",
    status_code=200,
    opt=DEPLOY,
    tags=["Deployments"],
    summary="Cancel a deployment",
    responses=error_responses(401, 403, 404, 409, 503),
)
async def cancel(request: GatewayRequest, deployment_id: FromPath[str]) -> CancelAnswer:
    """Decide that a deployment is cancelled; stopping it goes on by itself. Doing it again changes nothing."""
    row = await visible_deployment(request, deployment_id)
    stage = row.progress.stage if row.progress else GATEWAY
    failure = ZepidError("CANCELLED", "cancelled on request").failure(stage)
    decision = await request.ports.deployments.end(row.id, "cancelled", failure)
    if decision.outcome != "cancelled":
        message = f"Deployment {row.id} has already ended as {decision.outcome}, so there is nothing to cancel"
        raise ZepidError("OUTCOME_ALREADY_DECIDED", message)
    if decision.decided:
        request.gateway.background.start(_call_off(request.ports, decision), f"calling off {row.id}")
    return CancelAnswer(deployment_id=row.id, timestamp=iso_time(time.time()))


@post(
    "/deploy/{deployment_id:str}/retry",
    status_code=200,
    opt=DEPLOY,
    tags=["Deployments"],
    summary="Deploy the same source again",
    responses=error_responses(400, 401, 403, 404, 409, 429, 503),
)
async def retry(request: GatewayRequest, deployment_id: FromPath[str]) -> DeployAnswer:
    """Record a new deployment of the snapshot that an ended one was made from; the same rules hold as for any."""
    row = await visible_deployment(request, deployment_id)
    origin = (await request.ports.deployments.origins([row.id]))[row.id]
    if origin.outcome is None:
        message = f"Deployment {row.id} has not ended yet. Wait for its end, or cancel it, then retry it"
        raise ZepidError("DEPLOYMENT_IN_PROGRESS", message, details={"deploymentId": row.id})
    wanted = Wanted(
        project_id=origin.project_id,
        organization_id=origin.organization_id,
        user_id=origin.user_id,
        retry_of=row.id,
    )
    return await accept(request, "/deploy/{id}/retry", wanted)


async def _call_off(ports: GatewayPorts, decision: Decision) -> None:
    await insist(partial(call_off, ports.bus, GATEWAY, decision))


HANDLERS = [cancel, retry]
