"""Who calls, and what that allows."""

import msgspec

from shared.contracts.errors import ZepidError

_IMPLIED = {"read": {"read", "deploy", "admin"}, "deploy": {"deploy", "admin"}, "admin": {"admin"}}


class Caller(msgspec.Struct, frozen=True):
    """Who calls, and what the token allows.

    Attributes:
        organization_id: the one it acts for, None for every one.
        credential: an API key's id, or `jwt`, `session`.
    """

    token_name: str
    organization_id: str | None
    user_id: str
    scopes: tuple[str, ...]
    credential: str = ""

    @property
    def actor(self) -> str:
        """Who answers for what is done: a key by its id, a person by how they were recognised and their user id."""
        return f"{self.credential}:{self.user_id}" if self.credential in ("jwt", "session") else self.credential

    def sees(self, organization_id: str | None) -> bool:
        """Whether what belongs to this organisation exists for the caller; None: what belongs to none."""
        return self.organization_id in (None, organization_id)

    def has(self, scope: str) -> bool:
        """Whether the token has a scope, or a greater one, which includes it."""
        return not _IMPLIED[scope].isdisjoint(self.scopes)

    def must_act_for(self, organization_id: str) -> None:
        """Refuse with FORBIDDEN what is asked for in the name of another organisation."""
        if not self.sees(organization_id):
            raise ZepidError("FORBIDDEN", "The token does not belong to the organisation that the request names")

    def must_have(self, scope: str) -> None:
        """Refuse with FORBIDDEN what the token has no scope for."""
        if not self.has(scope):
            raise ZepidError("FORBIDDEN", f"The token lacks the scope `{scope}`")


class Proof(msgspec.Struct, frozen=True):
    """A credential that was checked, and until when it holds by itself: seconds since 1970, None for ever."""

    caller: Caller
    expires_at: float | None = None
