"""What an identity provider or the platform says of a person, read as a caller."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.gateway.access.caller import Caller
from shared.adapters.postgres.tokens import SCOPES
from shared.contracts.errors import ZepidError

_LONGEST = 200


class ClaimNames(msgspec.Struct, frozen=True):
    """Where claims are: each a name, or a path of names separated by dots.

    Attributes:
        scopes: "" where there is no such claim.
        default_scopes: of a person about whom nothing is claimed.
    """

    user: str
    organization: str
    scopes: str
    default_scopes: tuple[str, ...]


def caller_of(claims: Mapping[str, Any], names: ClaimNames, credential: str) -> Caller:
    """Return who the claims are about; a claim that is missing never makes anyone more than they are.

    Raises:
        ZepidError: UNAUTHORIZED without a user, FORBIDDEN without an organisation.
    """
    user_id = _id_at(claims, names.user)
    if user_id is None:
        raise ZepidError("UNAUTHORIZED", "The credential names no user")
    organization_id = _id_at(claims, names.organization)
    if organization_id is None:
        raise ZepidError("FORBIDDEN", "The credential names no organisation to act for")
    return Caller(user_id, organization_id, user_id, _scopes_in(claims, names), credential)


def _scopes_in(claims: Mapping[str, Any], names: ClaimNames) -> tuple[str, ...]:
    """Return the claimed scopes that are ours."""
    claimed = _value_at(claims, names.scopes) if names.scopes else None
    if claimed is None:
        return names.default_scopes
    given = claimed.replace(",", " ").split() if isinstance(claimed, str) else claimed
    return tuple(scope for scope in SCOPES if isinstance(given, list) and scope in given)


def _id_at(claims: Mapping[str, Any], path: str) -> str | None:
    value = _value_at(claims, path)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    usable = isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()
    return value if usable else None


def _value_at(claims: Any, path: str) -> Any:
    """Return a claim by its whole name, which may hold dots itself, or else by its path."""
    if isinstance(claims, Mapping) and path in claims:
        return claims[path]
    for name in path.split("."):
        if not isinstance(claims, Mapping):
            return None
        claims = claims.get(name)
    return claims
