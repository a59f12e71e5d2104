"""API keys: make, list, rotate and revoke them. A token is shown once, in the answer that makes it."""

import time
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import delete, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter
from msgspec import Meta

from services.gateway.access.caller import Caller
from services.gateway.auth import ADMIN, READ
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.lookup import visible_key
from services.gateway.paging import read_page
from services.gateway.ports import GatewayRequest
from shared.adapters.postgres.tokens import KeyRecord
from shared.contracts.errors import ZepidError
from shared.times import iso_time

Scope = Literal["read", "deploy", "admin"]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
_LONGEST_OVERLAP = 7 * 86_400
_EXAMPLE = Example(
    summary="A key for a pipeline, for one organisation",
    value={"name": "CI", "scopes": ["deploy"], "orgId": "acme", "expiresAt": "2030-01-01T00:00:00Z"},
)


class NewToken(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A key to make.

    Attributes:
        name: what people call it.
        scopes: none greater than those of the caller; a greater one includes the lesser.
        org_id: the organisation it acts for; the caller's by default.
        all_organizations: it acts for every one; only callers that do so themselves may ask for it.
        user_id: the user it acts as where a request names none; the caller's by default.
        expires_at: when it ends; never by default.
    """

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=3)]
    org_id: Name | None = None
    all_organizations: bool = False
    user_id: Name | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class Rotation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How long the old token stays valid: seconds, at most seven days; 0 ends it at once."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=_LONGEST_OVERLAP)] = 0


class TokenBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A key without its token.

    Attributes:
        prefix: the first characters of the token.
        organization_id: null for every organisation.
        previous_until: how long the token before the last rotation is valid.
    """

    id: str
    name: str
    prefix: str
    status: Literal["active", "expired", "revoked"]
    scopes: tuple[str, ...]
    organization_id: str | None
    user_id: str
    created_by: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    previous_until: str | None


class TokenAnswer(msgspec.Struct, frozen=True):
    """One key."""

    token: TokenBody
    success: bool = True


class MintedToken(msgspec.Struct, frozen=True):
    """A key and its token, `secret`, which can't be read again."""

    token: TokenBody
    secret: str
    success: bool = True


class TokenPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Keys, newest first; `next_cursor` asks for the next page."""

    tokens: list[TokenBody]
    next_cursor: str | None = None


@post("/tokens", opt=ADMIN, tags=["Tokens"], summary="Make an API key", responses=error_responses(400, 401, 403, 503))
async def create_token(request: GatewayRequest, data: Annotated[NewToken, Body(examples=[_EXAMPLE])]) -> MintedToken:
    """Make a key, of the caller's organisation and with no more than the caller's scopes. The token is shown once."""
    caller, tokens = request.caller, request.ports.tokens
    for scope in data.scopes:
        caller.must_have(scope)
    if data.expires_at and data.expires_at.timestamp() <= time.time():
        raise ValidationFailed({"expiresAt": ["This time is over"]})
    key_id, secret = await tokens.create(
        data.name,
        sorted(set(data.scopes)),
        _owner(caller, data),
        data.user_id or caller.user_id,
        expires_at=data.expires_at.timestamp() if data.expires_at else None,
        created_by=caller.actor,
    )
    return MintedToken(_body(await visible_key(request, key_id)), secret)


@get("/tokens", opt=ADMIN, tags=["Tokens"], summary="List API keys", responses=error_responses(400, 401, 403, 503))
async def list_tokens(
    request: GatewayRequest,
    revoked: Annotated[bool, QueryParameter(description="Revoked ones too")] = False,
    cursor: Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> TokenPage:
    """Return the keys of the caller's organisation, newest first; never a token."""
    tokens, owner = request.ports.tokens, request.caller.organization_id
    rows, next_cursor = await read_page(limit, lambda count: tokens.page(owner, cursor, count, revoked=revoked))
    return TokenPage([_body(row) for row in rows], next_cursor)


@delete(
    "/tokens/{token_id:str}",
    status_code=200,
    opt=READ,
    tags=["Tokens"],
    summary="Revoke an API key",
    responses=error_responses(401, 404, 503),
)
async def revoke_token(request: GatewayRequest, token_id: FromPath[str]) -> TokenAnswer:
    """End a key: at once here, within 5 seconds everywhere. Without the scope `admin` only one's own."""
    key = await visible_key(request, token_id)
    await request.ports.tokens.revoke(key.id)
    await _tell_gateways(request)
    return TokenAnswer(_body(await visible_key(request, key.id)))


@post(
    "/tokens/{token_id:str}/rotate",
    status_code=200,
    opt=READ,
    tags=["Tokens"],
    summary="Give an API key a new token",
    responses=error_responses(400, 401, 404, 409, 503),
)
async def rotate_token(
    request: GatewayRequest, token_id: FromPath[str], data: Annotated[Rotation | None, Body()] = None
) -> MintedToken:
    """Make a new token; the old one stays valid for the overlap, one from a rotation before ends at once.

    Without the scope `admin` only one's own.
    """
    key = await visible_key(request, token_id)
    secret = await request.ports.tokens.rotate(key.id, data.overlap_seconds if data else 0)
    if secret is None:
        raise ZepidError("TOKEN_ENDED", "The key has expired or was revoked, so it gets no new token")
    await _tell_gateways(request)
    return MintedToken(_body(await visible_key(request, key.id)), secret)


def _owner(caller: Caller, data: NewToken) -> str | None:
    """Return the organisation that a new key acts for, None for every one; a wide one is never made by omission."""
    if data.all_organizations:
        if caller.organization_id is not None:
            raise ZepidError("FORBIDDEN", "A token of one organisation can't make one for every organisation")
        return None
    organization_id = data.org_id or caller.organization_id
    if organization_id is None:
        raise ValidationFailed({"orgId": ["Name the organisation, or set allOrganizations"]})
    caller.must_act_for(organization_id)
    return organization_id


async def _tell_gateways(request: GatewayRequest) -> None:
    request.gateway.gate.forget_keys()
    await request.ports.bus.announce_key_change()


def _body(key: KeyRecord) -> TokenBody:
    now = time.time()
    expired = key.expires_at is not None and key.expires_at <= now
    overlaps = key.previous_until is not None and key.previous_until > now
    return TokenBody(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        status="revoked" if key.revoked_at else "expired" if expired else "active",
        scopes=key.scopes,
        organization_id=key.organization_id,
        user_id=key.user_id,
        created_by=key.created_by,
        created_at=iso_time(key.created_at),
        expires_at=_time(key.expires_at),
        last_used_at=_time(key.last_used_at),
        revoked_at=_time(key.revoked_at),
        previous_until=_time(key.previous_until) if overlaps else None,
    )


def _time(moment: float | None) -> str | None:
    return iso_time(moment) if moment is not None else None


HANDLERS = [create_token, list_tokens, revoke_token, rotate_token]
