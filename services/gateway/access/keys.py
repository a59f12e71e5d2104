"""API keys: found by their hash."""

from services.gateway.access.caller import Caller, Proof
from services.gateway.access.ledger import Ledger
from services.gateway.access.remembered import Remembered
from shared.adapters.postgres.tokens import Tokens, token_hash

KEPT_SECONDS = 5.0
"""How long a revoked key may still work at a gateway that could not be told."""


class Keys:
    """Checks the tokens of API keys. A change is told to every gateway; without that it is seen after 5 seconds."""

    def __init__(self, tokens: Tokens, ledger: Ledger) -> None:
        self._tokens = tokens
        self._ledger = ledger
        self._known = Remembered[Proof | None](KEPT_SECONDS)

    async def prove(self, token: str) -> Proof | None:
        """Return whose key it is; None for one that is unknown, expired or revoked."""
        proof = await self._known.get(token, self._find)
        if proof:
            self._ledger.key_used(proof.caller.credential)
        return proof

    def forget(self) -> None:
        """Look up every key again."""
        self._known.forget()

    async def _find(self, token: str) -> Proof | None:
        key = await self._tokens.find(token_hash(token))
        if key is None:
            return None
        return Proof(Caller(key.name, key.organization_id, key.user_id, key.scopes, key.id), key.expires_at)
