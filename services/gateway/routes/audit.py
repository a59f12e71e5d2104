"""Who did what."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from services.gateway.auth import ADMIN
from services.gateway.errors import error_responses
from services.gateway.paging import read_page
from services.gateway.ports import GatewayRequest
from shared.adapters.postgres.audit import AuditEntry
from shared.times import iso_time


class AuditBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A request that was to change something; see the fields of the same names in the guide of the route."""

    id: str
    timestamp: str
    actor: str
    user_id: str
    action: str
    subjects: dict[str, str]
    status: int
    request_id: str
    organization_id: str | None = None


class AuditPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Entries, newest first; `next_cursor` asks for the next page."""

    entries: list[AuditBody]
    next_cursor: str | None = None


@get(
    "/status/audit",
    opt=ADMIN,
    tags=["Operations"],
    summary="Who did what",
    responses=error_responses(400, 401, 403, 503),
)
async def audit(
    request: GatewayRequest,
    actor: Annotated[str | None, QueryParameter(description="Only what this API key or person did")] = None,
    action: Annotated[
        str | None, QueryParameter(description="Only what begins so, such as `DELETE` or `POST /deploy`")
    ] = None,
    org_id: Annotated[str | None, QueryParameter(name="orgId")] = None,
    cursor: Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> AuditPage:
    """Return every request that was to change something, refused ones too, newest first.

    `actor` is an API key's id, or `jwt:<user>`, `session:<user>`; `action` is method and route; `subjects` are the ids
    it was about. A request shows up about half a second after its answer.
    """
    if org_id:
        request.caller.must_act_for(org_id)
    audit, owner = request.ports.audit, org_id or request.caller.organization_id
    rows, next_cursor = await read_page(limit, lambda count: audit.page(owner, actor, action, cursor, count))
    return AuditPage([_body(row) for row in rows], next_cursor)


def _body(row: AuditEntry) -> AuditBody:
    return AuditBody(
        id=row.id,
        timestamp=iso_time(row.at),
        actor=row.actor,
        user_id=row.user_id,
        action=row.action,
        subjects=row.subjects,
        status=row.status,
        request_id=row.request_id,
        organization_id=row.organization_id,
    )


HANDLERS = [audit]
