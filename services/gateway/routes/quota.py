"""How many deployments an organisation's plans still allow."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from services.gateway.auth import READ
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.ports import GatewayRequest
from shared.adapters.postgres.quota import PlanQuota
from shared.times import iso_time


class PlanBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A plan.

    Attributes:
        active: whether deployments may use it: it is active and has not expired.
        remaining: deployments that it still allows.
        reserved: units held by deployments that have not ended.
        used: units spent since `since`.
        refreshes_at: when a yearly plan has its monthly allotment again.
    """

    plan_id: str
    plan_name: str
    billing_interval: str
    active: bool
    remaining: int
    reserved: int
    used: int
    since: str
    refreshes_at: str | None
    period_end: str


class QuotaBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An organisation's quota; `remaining` over all active plans, null when it has no plan and so no limit."""

    organization_id: str
    metered: bool
    remaining: int | None
    plans: list[PlanBody]


@get(
    "/status/quota",
    opt=READ,
    tags=["Operations"],
    summary="Look at the quota",
    responses=error_responses(400, 401, 403, 503),
)
async def quota(
    request: GatewayRequest,
    org_id: Annotated[
        str | None, QueryParameter(name="orgId", description="By default the organisation of the token")
    ] = None,
) -> QuotaBody:
    """Return an organisation's plans in the order in which deployments use them up."""
    organization_id = org_id or request.caller.organization_id
    if not organization_id:
        raise ValidationFailed({"orgId": ["Organization ID is required"]})
    request.caller.must_act_for(organization_id)
    plans = await request.ports.quota.of(organization_id)
    return QuotaBody(
        organization_id=organization_id,
        metered=bool(plans),
        remaining=sum(plan.remaining for plan in plans if plan.usable) if plans else None,
        plans=[_body(plan) for plan in plans],
    )


def _body(plan: PlanQuota) -> PlanBody:
    return PlanBody(
        plan_id=plan.plan_id,
        plan_name=plan.plan_name,
        billing_interval=plan.billing_interval,
        active=plan.usable,
        remaining=plan.remaining,
        reserved=plan.reserved,
        used=plan.used,
        since=iso_time(plan.since),
        refreshes_at=iso_time(plan.refreshes_at) if plan.refreshes_at else None,
        period_end=iso_time(plan.period_end),
    )


HANDLERS = [quota]
