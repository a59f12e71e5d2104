"""How many deployments an organisation may still make."""

from shared.client.answers import Answer
from shared.client.transport import Transport


class Plan(Answer, frozen=True):
    """A plan and what is left of it; see `GET /status/quota`."""

    plan_id: str
    plan_name: str
    billing_interval: str
    active: bool
    remaining: int
    reserved: int
    used: int
    period_end: str
    since: str = ""
    refreshes_at: str | None = None


class OrganizationQuota(Answer, frozen=True):
    """An organisation's quota; without a plan it is not metered, and `remaining` is None."""

    organization_id: str
    metered: bool
    plans: tuple[Plan, ...]
    remaining: int | None = None


class Quota:
    """What the plans allow."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def of(self, organization_id: str | None = None) -> OrganizationQuota:
        """Return the quota of an organisation, by default the token's."""
        return await self._transport.ask("GET", "/status/quota", OrganizationQuota, params={"orgId": organization_id})
