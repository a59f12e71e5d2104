"""Removing what is no longer kept, for operators."""

import time
from typing import Annotated

import msgspec
from litestar import post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import Meta

from services.gateway.auth import ADMIN
from services.gateway.errors import error_responses
from services.gateway.ports import GatewayRequest
from shared.collection import Removed, rules_of
from shared.times import iso_time


class CleanupOrder(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What to remove.

    Attributes:
        older_than_days: what deployments left that ended earlier, unless their release is kept.
        keep_releases: releases of a project that are kept however old they are.
        dry_run: only count it.
    """

    older_than_days: Annotated[int, Meta(ge=0, le=36_500)] | None = None
    keep_releases: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    dry_run: bool = False


class CleanupAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was removed, or would have been; `freedBytes` counts files and logs."""

    removed: Removed
    freed_bytes: int
    dry_run: bool
    timestamp: str
    success: bool = True


_EXAMPLE = Example(summary="See what would go", value={"olderThanDays": 30, "keepReleases": 10, "dryRun": True})


@post(
    "/status/cleanup",
    status_code=200,
    opt=ADMIN,
    tags=["Operations"],
    summary="Remove what is no longer kept",
    responses=error_responses(400, 401, 403, 409, 503),
)
async def cleanup(
    request: GatewayRequest, data: Annotated[CleanupOrder | None, Body(examples=[_EXAMPLE])] = None
) -> CleanupAnswer:
    """Remove old sources, outputs and logs of the token's organisation, and files that nothing refers to.

    Kept are releases that are live, were just before, are pinned or among the newest of their project.
    """
    order = data or CleanupOrder()
    given = {"older_than_days": order.older_than_days, "keep_releases": order.keep_releases}
    rules = msgspec.structs.replace(
        rules_of(request.ports.settings),
        organization_id=request.caller.organization_id,
        **{name: value for name, value in given.items() if value is not None},
    )
    removed = await request.ports.collector.collect(rules, dry_run=order.dry_run)
    return CleanupAnswer(
        removed=removed,
        freed_bytes=removed.blob_bytes + removed.log_bytes,
        dry_run=order.dry_run,
        timestamp=iso_time(time.time()),
    )


HANDLERS = [cleanup]
