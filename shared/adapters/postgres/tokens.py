"""API keys: only a token's hash is stored; the token itself is shown once, when it is made."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from uuid import uuid4

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries

TOKEN_PREFIX = "zpd_"
SCOPES = ("read", "deploy", "admin")
_SHOWN = len(TOKEN_PREFIX) + 8
"""So many characters of a token are kept for people to recognise it; over 200 random bits stay unknown."""


class ApiKey(msgspec.Struct, frozen=True):
    """A valid key.

    Attributes:
        scopes: of `read`, `deploy`, `admin`.
        organization_id: the one organisation it acts for, None for every one.
        expires_at: seconds since 1970, None for never.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    organization_id: str | None
    user_id: str
    expires_at: float | None


class KeyRecord(ApiKey, frozen=True, kw_only=True):
    """Everything that is kept of a key, valid or not; times in seconds since 1970.

    Attributes:
        prefix: the first characters of its token.
        created_by: the actor that made it, "" for the operator of the database.
        previous_until: how long the token before the last rotation stays valid.
    """

    prefix: str
    created_by: str
    created_at: float
    revoked_at: float | None = None
    last_used_at: float | None = None
    previous_until: float | None = None


def token_hash(token: str) -> bytes:
    """Return what is stored of a token.

    Tokens are random, so one round of SHA-256 is enough; and as only hashes are compared, by an index, how long
    that takes tells nothing about a token.
    """
    return hashlib.sha256(token.encode()).digest()


class Tokens:
    """The table `api_key`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("tokens")

    async def create(
        self,
        name: str,
        scopes: Iterable[str],
        organization_id: str | None,
        user_id: str,
        *,
        expires_at: float | None = None,
        created_by: str = "",
    ) -> tuple[str, str]:
        """Make a key; return its id and the token, which can't be read again.

        Args:
            name: what people call it.
            scopes: of `read`, `deploy`, `admin`; a greater one includes the lesser.
            organization_id: None for every organisation.
            user_id: the user it acts as where a request names none.
            expires_at: seconds since 1970, None for never.
            created_by: the actor who asks for it.
        """
        token = _new_token()
        key_id = f"key_{uuid4().hex}"
        await self._sql.create(
            self._pool,
            id=key_id,
            name=name,
            hash=token_hash(token),
            prefix=token[:_SHOWN],
            scopes=list(scopes),
            organization_id=organization_id,
            user_id=user_id,
            expires_at=expires_at,
            created_by=created_by,
        )
        return key_id, token

    async def operated(self) -> bool:
        """Whether there is a key that may do everything, so that others can be made with it."""
        return bool(await self._sql.operated(self._pool))

    async def find(self, hashed: bytes) -> ApiKey | None:
        """Return the valid key with this `token_hash`, or None."""
        row = await self._sql.find(self._pool, hash=hashed)
        return msgspec.convert(dict(row), ApiKey) if row else None

    async def get(self, key_id: str) -> KeyRecord | None:
        """Return what is kept of a key, or None."""
        row = await self._sql.get(self._pool, id=key_id)
        return msgspec.convert(dict(row), KeyRecord) if row else None

    async def page(
        self, organization_id: str | None, after: str | None, limit: int, *, revoked: bool
    ) -> list[KeyRecord]:
        """Return keys newest first, those below the key `after`; `revoked`: those too. None: of every organisation."""
        rows = self._sql.page(self._pool, organization_id=organization_id, after=after, limit=limit, revoked=revoked)
        return msgspec.convert([dict(row) async for row in rows], list[KeyRecord])

    async def revoke(self, key_id: str) -> None:
        """End a key with all its tokens; one that has ended stays as it is."""
        await self._sql.revoke(self._pool, id=key_id)

    async def rotate(self, key_id: str, overlap_seconds: float) -> str | None:
        """Give a key a new token and return it; None when the key has expired or was revoked.

        The token before stays valid for the overlap; one that a rotation before it had left valid ends at once.
        """
        token = _new_token()
        rotated = await self._sql.rotate(
            self._pool, id=key_id, hash=token_hash(token), prefix=token[:_SHOWN], overlap_seconds=overlap_seconds
        )
        return token if rotated else None

    async def record_use(self, used: Mapping[str, float]) -> None:
        """Remember when keys were last used: seconds since 1970 by id."""
        await self._sql.record_use(self._pool, ids=list(used), times=list(used.values()))


def _new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)
