"""The public keys of an identity provider, fetched from its JWKS address and fetched again when they change."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from services.gateway.access.asking import client_for
from shared.contracts.errors import ZepidError
from shared.telemetry import log

_FRESH_SECONDS = 600.0
_TRUSTED_SECONDS = 3600.0
"""How long keys are used that could not be fetched again: a provider that is away must not lock everyone out."""
_AGAIN_SECONDS = 5.0
_UNUSABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError)


class Jwks:
    """One provider's keys. An unknown key id fetches them again, at most every 5 seconds."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = client_for(url)
        self._keys = KeySet([])
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._fetching is not None:
            self._fetching.cancel()
        await self._http.aclose()

    async def keys_for(self, key_id: str | None) -> KeySet:
        """Return the present keys, which hold this one if the provider has it.

        Raises:
            ZepidError: SERVICE_UNAVAILABLE, the provider does not say which keys it has.
        """
        if not self._holds(key_id) or self._age() > _TRUSTED_SECONDS:
            await self._fetched()
        elif self._age() > _FRESH_SECONDS:
            self._begin()
        if self._age() > _TRUSTED_SECONDS:
            raise ZepidError("SERVICE_UNAVAILABLE", "The identity provider does not answer; try again in a moment")
        return self._keys

    def _holds(self, key_id: str | None) -> bool:
        return any(key_id in (None, key.kid) for key in self._keys)

    def _age(self) -> float:
        return time.monotonic() - self._fetched_at

    async def _fetched(self) -> None:
        self._begin()
        if self._fetching is not None:
            await asyncio.shield(self._fetching)

    def _begin(self) -> None:
        """Start to fetch, unless that goes on already or was done a moment ago."""
        if time.monotonic() - self._tried_at >= _AGAIN_SECONDS and (self._fetching is None or self._fetching.done()):
            self._tried_at = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch(), name="jwks")

    async def _fetch(self) -> None:
        try:
            answer = (await self._http.get(self._url)).raise_for_status()
            self._keys = KeySet(list(_usable(msgspec.json.decode(answer.content)["keys"])))
            self._fetched_at = time.monotonic()
        except (httpx.HTTPError, msgspec.DecodeError, *_UNUSABLE) as error:
            log.warning("the identity provider's keys could not be fetched", url=self._url, error=repr(error))


def _usable(described: Any) -> Iterator[Key]:
    """Yield the public keys that sign; what this version does not understand is left out."""
    for data in described:
        try:
            if data["kty"] != "oct" and data.get("use", "sig") == "sig":
                yield JWKRegistry.import_key(data)
        except _UNUSABLE as error:
            log.warning("a key of the identity provider is not usable", error=repr(error))
