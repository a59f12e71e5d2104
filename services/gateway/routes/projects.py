"""Projects: what is deployed, under which name."""

import re
import secrets
import string
from typing import Annotated, Literal

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, HeaderParameter, QueryParameter
from msgspec import Meta

from services.gateway.acceptance import GATEWAY, call_off_cancelled
from services.gateway.auth import DEPLOY, READ
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.lookup import PROJECT_NOT_FOUND, visible_project
from services.gateway.paging import read_page
from services.gateway.ports import GatewayRequest
from shared.adapters.postgres.projects import ProjectRow
from shared.blobs import digest_of
from shared.contracts.errors import ZepidError
from shared.settings import Settings
from shared.times import iso_time

_SUFFIX = string.ascii_lowercase + string.digits
_LONGEST_SLUG = 40
_EXAMPLE = Example(
    summary="A site built by a command of its own", value={"name": "My site", "settings": {"buildCommand": "make"}}
)

_CHANGE = Example(
    summary="Another build command, the output folder detected again",
    value={"settings": {"buildCommand": "npm run build:prod", "outputDirectory": None}},
)
Target = Literal["local", "cloudflare"]
IfMatch = Annotated[
    str | None, HeaderParameter(name="If-Match", description="The `ETag` that the project was read with")
]


class ProjectSettings(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Overrides of the build plan; what is not set is detected.

    Attributes:
        root_directory: folder of the tree to work in.
        install_command: shell command that installs dependencies.
        build_command: shell command that builds.
        output_directory: folder that the build writes to.
        target: where it goes live, `local` by default.
    """

    root_directory: str | None = None
    install_command: str | None = None
    build_command: str | None = None
    output_directory: str | None = None
    target: Target | None = None


class NewProject(msgspec.Struct, frozen=True, rename="camel"):
    """A project to make; organisation and user are the token's by default."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    org_id: str | None = None
    user_id: str | None = None
    settings: ProjectSettings = ProjectSettings()


class ChangedSettings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Overrides of the build plan to change: null has one detected again, what is not named stays."""

    root_directory: str | msgspec.UnsetType | None = msgspec.UNSET
    install_command: str | msgspec.UnsetType | None = msgspec.UNSET
    build_command: str | msgspec.UnsetType | None = msgspec.UNSET
    output_directory: str | msgspec.UnsetType | None = msgspec.UNSET
    target: Target | msgspec.UnsetType | None = msgspec.UNSET


class ChangedProject(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What to change of a project; what is not named stays.

    Attributes:
        is_active: an inactive project takes no deployments; its site stays as it is.
        settings: overrides of the build plan.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    is_active: bool | None = None
    settings: ChangedSettings = ChangedSettings()


class ProjectBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A project; `url` is where its site answers once something is live."""

    id: str
    name: str
    organization_id: str
    worker_name: str
    url: str
    is_active: bool
    settings: dict[str, str]
    created_at: str | None


class ProjectAnswer(msgspec.Struct, frozen=True):
    """One project."""

    project: ProjectBody


class DeletedProject(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A project that is gone; `cancelled_id` is the deployment that was cancelled for it."""

    project_id: str
    success: bool
    message: str
    cancelled_id: str | None = None


class ProjectPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Projects, newest first; `next_cursor` asks for the next page."""

    projects: list[ProjectBody]
    next_cursor: str | None = None


@post(
    "/projects",
    opt=DEPLOY,
    tags=["Projects"],
    summary="Make a project",
    responses=error_responses(400, 401, 403, 503),
)
async def create_project(
    request: GatewayRequest, data: Annotated[NewProject, Body(examples=[_EXAMPLE])]
) -> ProjectAnswer:
    """Make a project. Its id, and so its address, comes from its name."""
    organization_id = data.org_id or request.caller.organization_id
    if not organization_id:
        raise ValidationFailed({"orgId": ["Organization ID is required"]})
    request.caller.must_act_for(organization_id)
    row = await request.ports.projects.create(
        id=f"{_slug(data.name)}-{''.join(secrets.choice(_SUFFIX) for _ in range(6))}",
        name=data.name,
        organization_id=organization_id,
        user_id=data.user_id or request.caller.user_id,
        settings=msgspec.to_builtins(data.settings),
    )
    return ProjectAnswer(_body(row, request.ports.settings))


@get("/projects", opt=READ, tags=["Projects"], summary="List projects", responses=error_responses(400, 401, 503))
async def list_projects(
    request: GatewayRequest,
    cursor: Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
) -> ProjectPage:
    """Return the projects of the token's organisation, newest first."""
    projects, owner = request.ports.projects, request.caller.organization_id
    rows, next_cursor = await read_page(limit, lambda count: projects.page(owner, cursor, count))
    return ProjectPage([_body(row, request.ports.settings) for row in rows], next_cursor)


@get(
    "/projects/{project_id:str}",
    opt=READ,
    tags=["Projects"],
    summary="Read a project",
    responses=error_responses(401, 403, 404, 503),
)
async def read_project(request: GatewayRequest, project_id: FromPath[str]) -> Response[ProjectAnswer]:
    """Return one project; its `ETag` changes when its owner changes it."""
    return _answer(await visible_project(request, project_id), request.ports.settings)


@patch(
    "/projects/{project_id:str}",
    opt=DEPLOY,
    tags=["Projects"],
    summary="Change a project",
    responses=error_responses(400, 401, 403, 404, 412, 413, 503),
)
async def change_project(
    request: GatewayRequest,
    project_id: FromPath[str],
    data: Annotated[ChangedProject, Body(examples=[_CHANGE])],
    if_match: IfMatch = None,
) -> Response[ProjectAnswer]:
    """Change a project. Deployments that were accepted before keep the settings of then."""
    project = await visible_project(request, project_id)
    verdict = await request.ports.projects.change(
        project.id,
        name=data.name,
        is_active=data.is_active,
        settings=msgspec.to_builtins(data.settings),
        seen=_matching(project, if_match),
    )
    _refuse(verdict)
    return _answer(await visible_project(request, project_id), request.ports.settings)


@delete(
    "/projects/{project_id:str}",
    status_code=200,
    opt=DEPLOY,
    tags=["Projects"],
    summary="Delete a project",
    responses=error_responses(400, 401, 403, 404, 409, 412, 503),
)
async def delete_project(
    request: GatewayRequest,
    project_id: FromPath[str],
    cancel: Annotated[bool, QueryParameter(description="Cancel a deployment that is in the way")] = False,
    if_match: IfMatch = None,
) -> DeletedProject:
    """Delete a project: its site and previews stop answering, its domains are free, its variables are gone at once.

    Its releases, sources and logs are removed by retention. Its id and address are never given to another project.
    """
    project = await visible_project(request, project_id)
    failure = ZepidError("CANCELLED", "cancelled because its project was deleted").failure(GATEWAY)
    deletion = await request.ports.projects.delete(
        project.id,
        request.caller.user_id,
        seen=_matching(project, if_match),
        cancelling=failure if cancel else None,
    )
    if deletion.verdict == "in_progress":
        message = "A deployment of the project is in progress. Wait for its end, or delete with `cancel=true`"
        raise ZepidError("DEPLOYMENT_IN_PROGRESS", message, details={"deploymentId": deletion.active_id})
    _refuse(deletion.verdict)
    if deletion.cancelled_id:
        call_off_cancelled(request.gateway, deletion.cancelled_id, failure)
    return DeletedProject(
        project_id=project.id, success=True, message="Project deleted", cancelled_id=deletion.cancelled_id
    )


def _matching(project: ProjectRow, if_match: str | None) -> ProjectRow | None:
    """Return the project if a change depends on how it was seen, None if it does not; raises PRECONDITION_FAILED."""
    if if_match is None or if_match.strip() == "*":
        return None
    if f'"{_tag(project)}"' not in [tag.strip() for tag in if_match.split(",")]:
        _refuse("stale")
    return project


def _refuse(verdict: str) -> None:
    if verdict == "not_found":
        raise ZepidError("PROJECT_NOT_FOUND", PROJECT_NOT_FOUND)
    if verdict == "stale":
        raise ZepidError("PRECONDITION_FAILED", "The project is not what `If-Match` names any more")


def _answer(row: ProjectRow, settings: Settings) -> Response[ProjectAnswer]:
    return Response(ProjectAnswer(_body(row, settings)), headers={"ETag": f'"{_tag(row)}"'})


def _tag(row: ProjectRow) -> str:
    return digest_of(msgspec.json.encode(row.seen(), order="deterministic"))[:32]


def _body(row: ProjectRow, settings: Settings) -> ProjectBody:
    return ProjectBody(
        id=row.id,
        name=row.name,
        organization_id=row.organization_id,
        worker_name=row.site,
        url=settings.pattern_of(row.target).replace("{site}", row.site),
        is_active=row.is_active,
        settings=row.settings,
        created_at=iso_time(row.created_at) if row.created_at else None,
    )


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_SLUG].strip("-")
    return slug or "site"


HANDLERS = [create_project, list_projects, read_project, change_project, delete_project]
