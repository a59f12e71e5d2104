"""The gate: the one place that decides who may do what. Routes are closed unless they say otherwise.

A route declares its rule in `opt`: `PUBLIC`, `READ`, `DEPLOY` or `ADMIN`. How callers are recognised is in `access/`.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute

from services.gateway.access.caller import Caller, Proof
from services.gateway.access.identity_tokens import IdentityTokens
from services.gateway.access.keys import Keys
from services.gateway.access.ledger import Ledger
from services.gateway.access.sessions import Sessions
from shared.adapters.postgres.database import DATABASE_FAILED
from shared.adapters.postgres.tokens import TOKEN_PREFIX, Tokens
from shared.contracts.errors import ZepidError
from shared.settings import Settings

_RULE = "access"
_CHECK_FIRST = "check_first"
PUBLIC: dict[str, Any] = {_RULE: "public"}
READ: dict[str, Any] = {_RULE: "read"}
DEPLOY: dict[str, Any] = {_RULE: "deploy"}
ADMIN: dict[str, Any] = {_RULE: "admin"}

_NOT_ADMITTED = frozenset({401, 403})

Connection = ASGIConnection[Any, Any, Any, Any]


def checked_first(rule: dict[str, Any], check: Callable[[Any], Awaitable[None]]) -> dict[str, Any]:
    """Return `rule` for a route whose request is validated before the caller is asked for."""
    return {**rule, _CHECK_FIRST: check}


def is_checked_first(handler: BaseRouteHandler) -> bool:
    """Whether a route validates its body itself, before the caller is asked for."""
    return _CHECK_FIRST in handler.opt


def rule_of(handler: BaseRouteHandler) -> str:
    """Return who may call a route: `public`, or the scope that is needed; by default the greatest."""
    return str(handler.opt.get(_RULE, "admin"))


def require_rules(app: Litestar, guard: Callable[[Any], Awaitable[None]]) -> None:
    """Refuse to start with a route that does not say who may call it, or that could answer without `guard`."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            raise ImproperlyConfiguredException(f"{route.path} is no HTTP route, so nothing guards it")
        for handler in route.route_handlers:
            if _RULE not in handler.opt and handler.http_methods != {"OPTIONS"}:
                raise ImproperlyConfiguredException(f"{route.path} has no access rule")
            if handler.resolve_before_request() is not guard or handler.cache:
                raise ImproperlyConfiguredException(f"{route.path} can answer before the caller is known")


class Gate:
    """Lets requests pass whose caller is known and may do what the route does."""

    def __init__(self, tokens: Tokens, ledger: Ledger, settings: Settings, allows: Callable[[str], bool]) -> None:
        self._keys = Keys(tokens, ledger)
        self._identity_tokens = IdentityTokens(settings) if settings.jwks_url else None
        self._sessions = Sessions(settings, allows) if settings.session_url else None

    async def admit(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Apply the route's rule; every request to every route goes through here."""
        if check := handler.opt.get(_CHECK_FIRST):
            await check(connection)
        rule = rule_of(handler)
        if rule == "public":
            return
        caller = await self._caller(connection)
        connection.scope["auth"] = caller
        caller.must_have(rule)

    async def still_admits(self, connection: Connection, handler: BaseRouteHandler) -> bool:
        """Whether one who was admitted would be so now, too; as long as nobody can tell, yes."""
        try:
            (await self._caller(connection)).must_have(rule_of(handler))
        except ZepidError as error:
            return error.code.status not in _NOT_ADMITTED
        except DATABASE_FAILED:
            pass
        return True

    def forget_keys(self) -> None:
        """Look up every API key again: one was revoked or has a new token."""
        self._keys.forget()

    async def close(self) -> None:
        """Close the connections to whoever is asked about callers."""
        for asked in (self._identity_tokens, self._sessions):
            if asked is not None:
                await asked.close()

    async def _caller(self, connection: Connection) -> Caller:
        """Return who calls: by the bearer token, or by the session cookie where there is no `Authorization`."""
        authorization = connection.headers.get("authorization")
        if authorization is None and self._sessions and (cookie := self._sessions.cookie_in(connection)):
            return _valid(await self._sessions.prove(cookie)).caller
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise ZepidError("UNAUTHORIZED", "The request carries no bearer token")
        return _valid(await self._proof(token.strip())).caller

    async def _proof(self, token: str) -> Proof | None:
        if token.startswith(TOKEN_PREFIX):
            return await self._keys.prove(token)
        return await self._identity_tokens.prove(token) if self._identity_tokens else None


def _valid(proof: Proof | None) -> Proof:
    if proof is None or (proof.expires_at is not None and proof.expires_at <= time.time()):
        raise ZepidError("UNAUTHORIZED", "The token is not known, has expired or was revoked")
    return proof
