"""A lock keeps a site as it is: nothing is put live for its project."""

from typing import Annotated

import msgspec
from litestar import delete, post
from litestar.params import Body, FromPath

from services.gateway.auth import DEPLOY
from services.gateway.errors import error_responses
from services.gateway.lookup import visible_project
from services.gateway.ports import GatewayRequest
from services.gateway.routes.releases import LockBody, Reason, lock_body


class LockOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a project is locked."""

    reason: Reason = ""


class LockAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """Whether a project is locked, by whom and why."""

    project_id: str
    lock: LockBody | None
    success: bool = True


@post(
    "/projects/{project_id:str}/lock",
    status_code=200,
    opt=DEPLOY,
    tags=["Releases"],
    summary="Keep a site as it is",
    responses=error_responses(400, 401, 403, 404, 503),
)
async def lock(
    request: GatewayRequest,
    project_id: FromPath[str],
    data: Annotated[LockOrder | None, Body(description="Why; may be left out")] = None,
) -> LockAnswer:
    """Refuse deployments and rollbacks of a project; a deployment that runs cannot go live. Again, it changes why."""
    project = await visible_project(request, project_id)
    reason = data.reason if data else ""
    made = await request.ports.releases.lock(project.id, request.caller.user_id, reason)
    return LockAnswer(project.id, lock_body(made))


@delete(
    "/projects/{project_id:str}/lock",
    status_code=200,
    opt=DEPLOY,
    tags=["Releases"],
    summary="Let a site change again",
    responses=error_responses(401, 403, 404, 503),
)
async def unlock(request: GatewayRequest, project_id: FromPath[str]) -> LockAnswer:
    """Take the lock away; doing it again changes nothing."""
    project = await visible_project(request, project_id)
    await request.ports.releases.unlock(project.id)
    return LockAnswer(project.id, None)


HANDLERS = [lock, unlock]
