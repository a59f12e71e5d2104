"""API keys: only a token's hash is stored; the token itself is shown once, when it is made."""

import hashlib
import secrets
from collections.abc import Iterable
from uuid import uuid4

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries

TOKEN_PREFIX = "zpd_"
SCOPES = ("read", "deploy", "admin")


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


def token_hash(token: str) -> bytes:
    """Return what is stored of a token. Tokens are random, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).digest()


class Tokens:
    """The table `api_key`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("tokens")

    async def create(
        self, name: str, scopes: Iterable[str], organization_id: str | None, user_id: str
    ) -> tuple[str, str]:
        """Make a key; return its id and the token, which can't be read again.

        Args:
            name: what people call it.
            scopes: of `read`, `deploy`, `admin`; a greater one includes the lesser.
            organization_id: None for every organisation.
            user_id: the user it acts as where a request names none.
        """
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        key_id = f"key_{uuid4().hex}"
        await self._sql.create(
            self._pool,
            id=key_id,
            name=name,
            hash=token_hash(token),
            scopes=list(scopes),
            organization_id=organization_id,
            user_id=user_id,
        )
        return key_id, token

    async def find(self, hashed: bytes) -> ApiKey | None:
        """Return the valid key with this `token_hash`, or None."""
        row = await self._sql.find(self._pool, hash=hashed)
        return msgspec.convert(dict(row), ApiKey) if row else None
