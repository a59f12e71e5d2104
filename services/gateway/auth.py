"""The gate: the one place that decides who may do what. Routes are closed unless they say otherwise.

A route declares its rule in `opt`: `PUBLIC`, `READ`, `DEPLOY` or `ADMIN`.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from shared.adapters.postgres.tokens import TOKEN_PREFIX, ApiKey, Tokens, token_hash
from shared.contracts.errors import ZepidError

_KEPT_SECONDS = 5.0
_MOST_KEPT = 10_000
_IMPLIED = {"read": {"read", "deploy", "admin"}, "deploy": {"deploy", "admin"}, "admin": {"admin"}}

_RULE = "access"
_CHECK_FIRST = "check_first"
PUBLIC: dict[str, Any] = {_RULE: "public"}
READ: dict[str, Any] = {_RULE: "read"}
DEPLOY: dict[str, Any] = {_RULE: "deploy"}
ADMIN: dict[str, Any] = {_RULE: "admin"}


def checked_first(rule: dict[str, Any], check: Callable[[Any], Awaitable[None]]) -> dict[str, Any]:
    """Return `rule` for a route whose request is validated before the caller is asked for."""
    return {**rule, _CHECK_FIRST: check}


class Caller(msgspec.Struct, frozen=True):
    """Who calls, and what the token allows."""

    token_name: str
    organization_id: str | None
    user_id: str
    scopes: tuple[str, ...]

    def sees(self, organization_id: str) -> bool:
        """Whether what belongs to this organisation exists for the caller."""
        return self.organization_id in (None, organization_id)

    def must_act_for(self, organization_id: str) -> None:
        """Refuse with FORBIDDEN what is asked for in the name of another organisation."""
        if not self.sees(organization_id):
            raise ZepidError("FORBIDDEN", "The token does not belong to the organisation that the request names")

    def must_have(self, scope: str) -> None:
        """Refuse with FORBIDDEN what the token has no scope for; a greater scope includes a lesser."""
        if _IMPLIED[scope].isdisjoint(self.scopes):
            raise ZepidError("FORBIDDEN", f"The token lacks the scope `{scope}`")


class Gate:
    """Lets requests pass; a token that was looked up is believed for 5 seconds."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._known: dict[bytes, tuple[float, ApiKey | None]] = {}

    async def admit(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Apply the route's rule; every request to every route goes through here."""
        if check := handler.opt.get(_CHECK_FIRST):
            await check(connection)
        rule = handler.opt.get(_RULE, "admin")
        if rule == "public":
            return
        caller = await self._caller(connection.headers.get("authorization", ""))
        caller.must_have(rule)
        connection.scope["auth"] = caller

    async def _caller(self, authorization: str) -> Caller:
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token:
            raise ZepidError("UNAUTHORIZED", "The request carries no bearer token")
        key = await self._key(token.strip()) if token.startswith(TOKEN_PREFIX) else None
        if key is None or (key.expires_at is not None and key.expires_at <= time.time()):
            raise ZepidError("UNAUTHORIZED", "The token is not known, has expired or was revoked")
        return Caller(key.name, key.organization_id, key.user_id, key.scopes)

    async def _key(self, token: str) -> ApiKey | None:
        hashed = token_hash(token)
        now = time.monotonic()
        known = self._known.get(hashed)
        if known and known[0] > now:
            return known[1]
        key = await self._tokens.find(hashed)
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[hashed] = (now + _KEPT_SECONDS, key)
        return key
