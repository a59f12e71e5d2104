"""API keys: made, listed, given new tokens, revoked."""

from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from shared.client.answers import Answer
from shared.client.transport import Transport


class ApiKey(Answer, frozen=True):
    """A key without its token; no organisation means every one.

    Attributes:
        prefix: the first characters of its token.
        status: active, expired or revoked.
        previous_until: how long the token before the last rotation is valid.
    """

    id: str
    name: str
    prefix: str
    status: str
    scopes: tuple[str, ...]
    user_id: str
    created_at: str
    organization_id: str | None = None
    created_by: str = ""
    expires_at: str | None = None
    last_used_at: str | None = None
    revoked_at: str | None = None
    previous_until: str | None = None


class NewSecret(Answer, frozen=True):
    """A key and its token, `secret`, which is never shown again."""

    token: ApiKey
    secret: str


class _One(Answer, frozen=True):
    token: ApiKey


class _Page(Answer, frozen=True):
    tokens: tuple[ApiKey, ...]
    next_cursor: str | None = None


class Tokens:
    """`client.tokens`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        organization_id: str | None = None,
        all_organizations: bool = False,
        user_id: str | None = None,
        expires_at: str | None = None,
    ) -> NewSecret:
        """Make a key.

        Args:
            name: what people call it.
            scopes: of `read`, `deploy`, `admin`; a greater one includes the lesser.
            organization_id: the one it acts for, the caller's by default.
            all_organizations: it acts for every one.
            user_id: the user it acts as where a request names none, the caller's by default.
            expires_at: ISO 8601, never by default.
        """
        order = {
            "name": name,
            "scopes": list(scopes),
            "orgId": organization_id,
            "allOrganizations": all_organizations,
            "userId": user_id,
            "expiresAt": expires_at,
        }
        return await self._transport.ask("POST", "/tokens", NewSecret, json=order)

    async def list(self, *, revoked: bool = False) -> AsyncIterator[ApiKey]:
        """Yield the keys, newest first."""
        cursor: str | None = None
        while True:
            params = {"cursor": cursor, "revoked": revoked or None}
            page = await self._transport.ask("GET", "/tokens", _Page, params=params)
            for key in page.tokens:
                yield key
            if (cursor := page.next_cursor) is None:
                return

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key; doing it again changes nothing."""
        return (await self._transport.ask("DELETE", _path(key_id), _One)).token

    async def rotate(self, key_id: str, overlap_seconds: int = 0) -> NewSecret:
        """Give a key a new token; the old one stays valid for the overlap."""
        order = {"overlapSeconds": overlap_seconds}
        return await self._transport.ask("POST", f"{_path(key_id)}/rotate", NewSecret, json=order)


def _path(key_id: str) -> str:
    return f"/tokens/{quote(key_id, safe='')}"
