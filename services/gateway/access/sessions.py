"""The platform's session cookie: the platform itself is asked whose session it is."""

from collections.abc import Callable, Iterable
from typing import Any

import httpx
import msgspec
from litestar.connection import ASGIConnection

from services.gateway.access.asking import client_for
from services.gateway.access.caller import Proof
from services.gateway.access.claims import ClaimNames, caller_of
from services.gateway.access.remembered import Remembered
from services.gateway.audit import READING
from shared.contracts.errors import ZepidError
from shared.settings import Settings
from shared.telemetry import log


class Sessions:
    """Asks the platform's session endpoint with nothing but the session's cookie; the answer is believed shortly."""

    def __init__(self, settings: Settings, allows: Callable[[str], bool]) -> None:
        self._url = settings.session_url
        self._cookie = settings.session_cookie
        self._http = client_for(settings.session_url)
        self._allows = allows
        self._names = ClaimNames(
            settings.session_user_claim,
            settings.session_organization_claim,
            settings.session_scope_claim,
            tuple(settings.session_scopes.replace(",", " ").split()),
        )
        self._known = Remembered[Proof | None](settings.session_kept_seconds)

    async def close(self) -> None:
        """Close the connections to the platform."""
        await self._http.aclose()

    def cookie_in(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
        """Return the session's cookie as it was sent, None if there is none.

        Browsers add cookies to requests of any page, so one that is to change something must come from a page of the
        allowed origins; raises FORBIDDEN.
        """
        cookie = _value_of(self._cookie, connection.headers.getall("cookie", []))
        reads = connection.scope.get("method") in READING
        if cookie and not reads and not self._allows(connection.headers.get("origin", "")):
            raise ZepidError("FORBIDDEN", "Pages of this origin may not change anything with a session cookie")
        return cookie

    async def prove(self, cookie: str) -> Proof | None:
        """Return whose session it is; None for one that the platform does not know.

        Raises:
            ZepidError: as `caller_of`; SERVICE_UNAVAILABLE, the platform does not answer.
        """
        return await self._known.get(cookie, self._ask)

    async def _ask(self, cookie: str) -> Proof | None:
        try:
            answer = await self._http.get(self._url, headers={"cookie": f"{self._cookie}={cookie}"})
        except httpx.HTTPError as error:
            raise self._away(repr(error)) from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise self._away(f"HTTP {answer.status_code}")
        if not answer.is_success:
            return None
        try:
            session = msgspec.json.decode(answer.content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._away(repr(error)) from error
        return Proof(caller_of(session, self._names, "session")) if isinstance(session, dict) and session else None

    def _away(self, reason: str) -> ZepidError:
        log.warning("the session endpoint is not usable", url=self._url, error=reason)
        return ZepidError("SERVICE_UNAVAILABLE", "The session could not be checked; try again in a moment")


def _value_of(name: str, headers: Iterable[str]) -> str | None:
    """Return a cookie's value; decoding it would change what its signature covers."""
    for pair in (pair for header in headers for pair in header.split(";")):
        found, _, value = pair.strip().partition("=")
        if found == name and value:
            return value
    return None
