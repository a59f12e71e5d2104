"""Projects: what is deployed, under which name."""

import re
import secrets
import string
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter
from msgspec import Meta

from services.gateway.auth import DEPLOY, READ
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.lookup import visible_project
from services.gateway.ports import GatewayRequest
from shared.adapters.postgres.projects import ProjectRow
from shared.settings import Settings
from shared.times import iso_time

_SUFFIX = string.ascii_lowercase + string.digits
_LONGEST_SLUG = 40
_EXAMPLE = Example(
    summary="A site built by a command of its own", value={"name": "My site", "settings": {"buildCommand": "make"}}
)


class ProjectSettings(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Overrides of the build plan; what is not set is detected.

    Attributes:
        root_directory: folder of the tree to work in.
        install_command: shell command that installs dependencies.
        build_command: shell command that builds.
        output_directory: folder that the build writes to.
    """

    root_directory: str | None = None
    install_command: str | None = None
    build_command: str | None = None
    output_directory: str | None = None


class NewProject(msgspec.Struct, frozen=True, rename="camel"):
    """A project to make; organisation and user are the token's by default."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    org_id: str | None = None
    user_id: str | None = None
    settings: ProjectSettings = ProjectSettings()


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
    rows = await request.ports.projects.page(request.caller.organization_id, cursor, limit + 1)
    projects = [_body(row, request.ports.settings) for row in rows[:limit]]
    return ProjectPage(projects, projects[-1].id if len(rows) > limit else None)


@get(
    "/projects/{project_id:str}",
    opt=READ,
    tags=["Projects"],
    summary="Read a project",
    responses=error_responses(401, 404, 503),
)
async def read_project(request: GatewayRequest, project_id: FromPath[str]) -> ProjectAnswer:
    """Return one project."""
    return ProjectAnswer(_body(await visible_project(request, project_id), request.ports.settings))


def _body(row: ProjectRow, settings: Settings) -> ProjectBody:
    return ProjectBody(
        id=row.id,
        name=row.name,
        organization_id=row.organization_id,
        worker_name=row.site,
        url=settings.edge_url.replace("{site}", row.site),
        is_active=row.is_active,
        settings=row.settings,
        created_at=iso_time(row.created_at) if row.created_at else None,
    )


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_SLUG].strip("-")
    return slug or "site"


HANDLERS = [create_project, list_projects, read_project]
