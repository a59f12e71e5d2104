"""JWTs of the platform's identity provider, checked with its public keys."""

import msgspec
from joserfc import jws, jwt
from joserfc.errors import JoseError

from services.gateway.access.caller import Proof
from services.gateway.access.claims import ClaimNames, caller_of
from services.gateway.access.jwks import Jwks
from services.gateway.access.remembered import Remembered
from shared.settings import Settings

_KEPT_SECONDS = 5.0


class IdentityTokens:
    """Checks signature, issuer, audience and times; only with algorithms of public keys."""

    def __init__(self, settings: Settings) -> None:
        self._jwks = Jwks(settings.jwks_url)
        self._algorithms = settings.jwt_algorithm_list
        self._signatures = jws.JWSRegistry(algorithms=self._algorithms, strict_check_header=False)
        self._leeway = settings.jwt_leeway
        self._claims = jwt.JWTClaimsRegistry(
            leeway=self._leeway,
            iss={"essential": True, "value": settings.jwt_issuer},
            aud={"essential": True, "value": settings.jwt_audience},
            exp={"essential": True},
        )
        self._names = ClaimNames(
            settings.jwt_user_claim,
            settings.jwt_organization_claim,
            settings.jwt_scope_claim,
            tuple(settings.jwt_scopes.replace(",", " ").split()),
        )
        self._known = Remembered[Proof | None](_KEPT_SECONDS)

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._jwks.close()

    async def prove(self, token: str) -> Proof | None:
        """Return whose token it is; None for one that does not hold.

        Raises:
            ZepidError: as `caller_of`; SERVICE_UNAVAILABLE, the provider does not answer.
        """
        return await self._known.get(token, self._check)

    async def _check(self, token: str) -> Proof | None:
        try:
            header = jws.extract_compact(token.encode()).headers()
            key_id = header.get("kid")
            if header.get("alg") not in self._algorithms or not isinstance(key_id, str | None):
                return None
            keys = await self._jwks.keys_for(key_id)
            claims = jwt.decode(token, keys, algorithms=self._algorithms, registry=self._signatures).claims
            self._claims.validate(claims)
        except (JoseError, ValueError, TypeError, msgspec.DecodeError):
            return None
        return Proof(caller_of(claims, self._names, "jwt"), claims["exp"] + self._leeway)
