"""What a project has released, and going back to it."""

import time
from typing import Annotated
from uuid import uuid4

import msgspec
from litestar import delete, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter
from msgspec import Meta

from services.gateway.auth import DEPLOY, READ
from services.gateway.errors import error_responses
from services.gateway.lookup import PROJECT_LOCKED, visible_project
from services.gateway.paging import read_page
from services.gateway.ports import GatewayPorts, GatewayRequest
from shared.adapters.postgres.releases import Lock, ReleaseRow, RollbackRow, Switch
from shared.contracts.errors import ZepidError
from shared.rollback import see_through
from shared.times import iso_time

Reason = Annotated[str, Meta(max_length=1000)]
_Cursor = Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")]
_Limit = Annotated[int, QueryParameter(ge=1, le=200)]
_EXAMPLE = Example(
    summary="Back to a release", value={"releaseId": "rel_4f1c2a", "reason": "the checkout page is broken"}
)


class LockBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A lock: nothing is put live for the project."""

    locked_by: str
    reason: str
    locked_at: str


class ReleaseBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A release.

    Attributes:
        live: it is what the site serves.
        pinned: it is kept for ever.
        kept: its files are there; the site can go back to it.
        url: its own address, live or not; at the edge, wherever the site is served.
        size: bytes of its files together.
    """

    id: str
    deployment_id: str
    created_at: str
    live: bool
    pinned: bool
    kept: bool
    url: str
    files: int
    size: int


class ReleasePage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Releases that were live once, newest first; `lock` says that none is put live at present."""

    releases: list[ReleaseBody]
    next_cursor: str | None = None
    lock: LockBody | None = None


class RollbackOrder(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which release to go back to, and why."""

    release_id: Annotated[str, Meta(min_length=1, max_length=100)]
    reason: Reason = ""


class RollbackAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The release is live; `changed` is false where it was before."""

    release_id: str
    previous_release_id: str | None
    url: str
    changed: bool
    timestamp: str
    success: bool = True


class RollbackBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A rollback; `state` is pending, confirmed, undone (its probe failed, as `fault` says) or overtaken."""

    id: str
    from_release_id: str | None
    to_release_id: str
    user_id: str
    reason: str
    at: str
    state: str
    fault: str | None


class RollbackPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Rollbacks, newest first; `next_cursor` asks for the next page."""

    rollbacks: list[RollbackBody]
    next_cursor: str | None = None


class PinAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """Whether a release is kept for ever."""

    release_id: str
    pinned: bool
    success: bool = True


@get(
    "/projects/{project_id:str}/releases",
    opt=READ,
    tags=["Releases"],
    summary="List a project's releases",
    responses=error_responses(400, 401, 404, 503),
)
async def list_releases(
    request: GatewayRequest, project_id: FromPath[str], cursor: _Cursor = None, limit: _Limit = 50
) -> ReleasePage:
    """Return what was live once, newest first, and whether the project is locked."""
    project = await visible_project(request, project_id)
    releases = request.ports.releases
    rows, next_cursor = await read_page(limit, lambda count: releases.page(project.id, cursor, count))
    lock = await releases.find_lock(project.id)
    bodies = [_release(row, request.ports) for row in rows]
    return ReleasePage(bodies, next_cursor, lock_body(lock) if lock else None)


@post(
    "/projects/{project_id:str}/rollback",
    status_code=200,
    opt=DEPLOY,
    tags=["Releases"],
    summary="Go back to a release",
    responses=error_responses(400, 401, 403, 404, 409, 502, 503),
)
async def roll_back(
    request: GatewayRequest, project_id: FromPath[str], data: Annotated[RollbackOrder, Body(examples=[_EXAMPLE])]
) -> RollbackAnswer:
    """Serve a kept release again, without a build; answers when it was seen live. If it is not, all stays as it was.

    Where a deployment goes live at the same time, the one that switches last wins.
    """
    project = await visible_project(request, project_id)
    releases, publishers = request.ports.releases, request.ports.publishers
    switch = await releases.roll_back(
        id=f"back_{uuid4().hex}",
        project_id=project.id,
        release_id=data.release_id,
        user_id=request.caller.user_id,
        reason=data.reason,
        targets=list(publishers),
    )
    if switch.rollback is not None:
        await see_through(releases, publishers, switch.rollback)
    elif switch.verdict != "unchanged":
        raise _refusal(switch.verdict, data.release_id)
    return _rolled_back(request.ports, project.site, data.release_id, switch)


@get(
    "/projects/{project_id:str}/rollbacks",
    opt=READ,
    tags=["Releases"],
    summary="List a project's rollbacks",
    responses=error_responses(400, 401, 404, 503),
)
async def list_rollbacks(
    request: GatewayRequest, project_id: FromPath[str], cursor: _Cursor = None, limit: _Limit = 50
) -> RollbackPage:
    """Return who went back from which release to which, when and why, newest first."""
    project = await visible_project(request, project_id)
    releases = request.ports.releases
    rows, next_cursor = await read_page(limit, lambda count: releases.rollbacks(project.id, cursor, count))
    return RollbackPage([_rollback(row) for row in rows], next_cursor)


@post(
    "/projects/{project_id:str}/releases/{release_id:str}/pin",
    status_code=200,
    opt=DEPLOY,
    tags=["Releases"],
    summary="Keep a release for ever",
    responses=error_responses(401, 403, 404, 409, 503),
)
async def pin(request: GatewayRequest, project_id: FromPath[str], release_id: FromPath[str]) -> PinAnswer:
    """Let a release never expire; doing it again changes nothing."""
    return await _set_pinned(request, project_id, release_id, pinned=True)


@delete(
    "/projects/{project_id:str}/releases/{release_id:str}/pin",
    status_code=200,
    opt=DEPLOY,
    tags=["Releases"],
    summary="Let a release expire again",
    responses=error_responses(401, 403, 404, 503),
)
async def unpin(request: GatewayRequest, project_id: FromPath[str], release_id: FromPath[str]) -> PinAnswer:
    """Let a release expire as any other; doing it again changes nothing."""
    return await _set_pinned(request, project_id, release_id, pinned=False)


def lock_body(lock: Lock) -> LockBody:
    """Return a lock as callers see it."""
    return LockBody(locked_by=lock.locked_by, reason=lock.reason, locked_at=iso_time(lock.locked_at))


async def _set_pinned(request: GatewayRequest, project_id: str, release_id: str, *, pinned: bool) -> PinAnswer:
    project = await visible_project(request, project_id)
    answer = await request.ports.releases.pin(project.id, release_id, pinned=pinned)
    if answer != "done":
        raise _refusal(answer, release_id)
    return PinAnswer(release_id, pinned)


def _refusal(verdict: str, release_id: str) -> ZepidError:
    match verdict:
        case "locked":
            return ZepidError("PROJECT_LOCKED", PROJECT_LOCKED)
        case "expired":
            return ZepidError("RELEASE_NOT_KEPT", f"The files of release {release_id} are no longer kept")
        case "no_target":
            message = f"Release {release_id} is served at a place that is not set up here any more"
            return ZepidError("PUBLISH_TARGET_MISSING", message)
        case "never_live":
            return ZepidError("RELEASE_NOT_KEPT", f"Release {release_id} was never seen live")
        case _:
            return ZepidError("NOT_FOUND", "The project has no release of this id")


def _rolled_back(ports: GatewayPorts, site: str, release_id: str, switch: Switch) -> RollbackAnswer:
    return RollbackAnswer(
        release_id=release_id,
        previous_release_id=switch.rollback.from_release_id if switch.rollback else release_id,
        url=ports.publishers[switch.target].public_url(site),
        changed=switch.rollback is not None,
        timestamp=iso_time(time.time()),
    )


def _release(row: ReleaseRow, ports: GatewayPorts) -> ReleaseBody:
    return ReleaseBody(
        id=row.id,
        deployment_id=row.deployment_id,
        created_at=iso_time(row.created_at),
        live=row.live,
        pinned=row.pinned,
        kept=row.kept,
        url=ports.publishers["local"].release_url(row.site, row.id),
        files=row.file_count,
        size=row.total_bytes,
    )


def _rollback(row: RollbackRow) -> RollbackBody:
    return RollbackBody(
        id=row.id,
        from_release_id=row.from_release_id,
        to_release_id=row.to_release_id,
        user_id=row.user_id,
        reason=row.reason,
        at=iso_time(row.began_at),
        state=row.settled or "pending",
        fault=row.fault,
    )


HANDLERS = [list_releases, roll_back, list_rollbacks, pin, unpin]
