"""Starting a deployment, and where it stands."""

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, FromQuery, HeaderParameter, QueryParameter

from services.gateway.acceptance import DeployAnswer, Wanted, accept
from services.gateway.auth import DEPLOY, READ, checked_first
from services.gateway.conditional import NOT_MODIFIED, IfNoneMatch, unless_known
from services.gateway.custom_domain import ask_for_domain
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.lookup import DeploymentRow, visible_deployment
from services.gateway.openapi import BODY_REQUIRED
from services.gateway.order_source import tree_of_order
from services.gateway.orders import KEY_HEADER, DeployOrder, SnapshotSource, body_digest, check_order
from services.gateway.ports import GatewayRequest
from services.gateway.status import FirstForm, StatusBody, first_form

_MOST_ORDER_BYTES = 32 * 1024 * 1024
_PROJECT = {"projectId": "my-site-x1y2z3", "orgId": "acme", "userId": "ada"}
_ORDER = Example(summary="The latest source of a project", value=_PROJECT)
_GIT_ORDER = Example(
    summary="A branch of a public repository",
    value={
        **_PROJECT,
        "source": {"type": "git", "url": "https://git.example.com/acme/site.git", "ref": "main"},
    },
)
_PLATFORM_ORDER = Example(
    summary="A template, and the changes of a conversation",
    value={
        **_PROJECT,
        "initFiles": {"index.html": "<h1>Hello</h1>", "src": {"type": "folder", "children": {"main.ts": "export {};"}}},
        "historyMessages": [
            {
                "type": "diff",
                "diff": [
                    {"type": "edit", "path": "index.html", "original": "<h1>Hello</h1>", "modified": "<h1>Hi</h1>"},
                    {"type": "delete", "path": "src/main.ts"},
                ],
            }
        ],
    },
)


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
    opt=checked_first(DEPLOY, check_order) | BODY_REQUIRED,
    request_max_body_size=_MOST_ORDER_BYTES,
    tags=["Deployments"],
    summary="Deploy a project",
    responses=error_responses(400, 401, 403, 404, 409, 422, 429, 503),
)
async def deploy(
    request: GatewayRequest,
    data: Annotated[DeployOrder | None, Body(examples=[_ORDER, _PLATFORM_ORDER, _GIT_ORDER])] = None,
    instance_id: Annotated[
        str | None, QueryParameter(name="instanceId", description="First version: ask for a status")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name=KEY_HEADER,
            pattern=r"^[!-~]{1,255}$",
            description="Repeating a request with the same key for 24 hours repeats its first answer",
        ),
    ] = None,
) -> DeployAnswer | FirstFormAnswer:
    """Record a deployment of a project's source. It runs by itself from here; watch its events."""
    if instance_id is not None or data is None:
        row = await visible_deployment(request, instance_id or "")
        return FirstFormAnswer(id=row.id, details=first_form(row.body()))
    request.caller.must_act_for(data.org_id)
    if data.custom_domain:
        await ask_for_domain(request, data.custom_domain, data.project_id, data.org_id)
    wanted = Wanted(
        project_id=data.project_id,
        organization_id=data.org_id,
        user_id=data.user_id,
        priority=data.priority,
        target=data.target,
        snapshot_id=data.source.id if isinstance(data.source, SnapshotSource) else None,
        tree=await tree_of_order(request.ports, data),
        supersede=data.supersede,
        timeout_seconds=data.config.timeout_seconds if data.config else None,
        debug=data.config is not None and data.config.debug,
        key=idempotency_key,
        body_digest=await body_digest(request) if idempotency_key else None,
    )
    return await accept(request, "/deploy", wanted)


@get(
    "/deploy/{deployment_id:str}/status",
    opt=READ,
    tags=["Deployments"],
    summary="Where a deployment stands",
    responses=NOT_MODIFIED | error_responses(401, 404, 503),
)
async def status(
    request: GatewayRequest, deployment_id: FromPath[str], if_none_match: IfNoneMatch = None
) -> Response[StatusBody]:
    """Return status, progress and steps; on failure `diagnosis` says what to do."""
    row = await visible_deployment(request, deployment_id)
    return unless_known(await _status(request, row), if_none_match)


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
    return row.body(await request.gateway.queue_estimate.seconds(row.queue))


HANDLERS = [deploy, status, deploy_status]
