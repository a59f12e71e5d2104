"""The audit log: who did what."""

from shared.client.answers import Answer
from shared.client.transport import Transport


class AuditEntry(Answer, frozen=True):
    """A request that was to change something.

    Attributes:
        actor: an API key's id, or `jwt:<user>`, `session:<user>`.
        action: method and route.
        subjects: the ids it was about: name → id.
        status: HTTP status of its answer.
    """

    id: str
    timestamp: str
    actor: str
    user_id: str
    action: str
    subjects: dict[str, str]
    status: int
    request_id: str
    organization_id: str | None = None


class AuditPage(Answer, frozen=True):
    """Entries, newest first; `next_cursor` asks for the next page."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None = None


class Audit:
    """`client.audit`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def page(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        organization_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> AuditPage:
        """Return one page: of an actor, of actions that begin so, of an organisation."""
        params = {"actor": actor, "action": action, "orgId": organization_id, "limit": limit, "cursor": cursor}
        return await self._transport.ask("GET", "/status/audit", AuditPage, params=params)
