"""The publisher of the edge: sites are served by our own process, from the pointer in SQL."""

import asyncio
import ssl
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx

from shared.adapters.publishers.addresses import Addresses
from shared.contracts.errors import ZepidError
from shared.settings import Settings

PROBE_SECONDS = 10.0
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.05
MOST_REDIRECTS = 5
RELEASE_HEADER = "x-zepid-release"


class _Seen(NamedTuple):
    """What an address answered last; status 0 where nothing did."""

    status: int
    release: str = ""
    empty: bool = True
    trouble: str = ""

    def is_live_as(self, release: str) -> bool:
        return 200 <= self.status < 300 and self.release == release and not self.empty

    def is_final(self, release: str) -> bool:
        """Whether asking again cannot help: a release never changes."""
        return self.release == release and (400 <= self.status < 500 or (self.status < 300 and self.empty))


class LocalPublisher:
    """Serves releases through the edge that listens at `EDGE_ADDRESS`."""

    def __init__(self, settings: Settings, *, probe_seconds: float = PROBE_SECONDS) -> None:
        self._addresses = Addresses(settings.edge_url)
        self._edge = settings.edge_address
        self._probe_seconds = probe_seconds

    def public_url(self, site: str) -> str:
        """The address people use."""
        return self._addresses.of_site(site)

    def release_url(self, site: str, release: str) -> str:
        """The address of one release."""
        return self._addresses.of_release(site, release)

    async def publish(self, site: str, release: str) -> None:
        """Do nothing: the pointer in SQL is what the edge reads."""

    async def probe(self, url: str, release: str) -> None:
        """Ask the edge for an address until it answers 2xx as this release, with a body.

        The request goes to `EDGE_ADDRESS` with the address's host name, so that name need not resolve.

        Raises:
            ZepidError: RELEASE_PROBE_FAILED, the release answered and is not a page (said at once if it
                cannot change); PUBLISH_FAILED, the edge was away or served something else until the end.
        """
        seen = _Seen(0, trouble="no answer in time")
        async with _client(self._probe_seconds) as client:
            try:
                async with asyncio.timeout(self._probe_seconds):
                    pause = FIRST_PAUSE
                    while True:
                        seen = await self._ask(client, url)
                        if seen.is_live_as(release):
                            return
                        if seen.is_final(release):
                            break
                        await asyncio.sleep(pause)
                        pause = min(LONGEST_PAUSE, pause * 1.5)
            except TimeoutError:
                pass
        raise _not_live(url, release, seen)

    async def _ask(self, client: httpx.AsyncClient, url: str) -> _Seen:
        """Ask once, following redirects; each of them goes to the edge again, wherever it leads."""
        try:
            for _ in range(MOST_REDIRECTS):
                parts = urlsplit(url)
                target = f"http://{self._edge}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
                headers = {"host": parts.netloc, "accept": "text/html,*/*", "user-agent": "zepid-probe"}
                answer = await client.get(target, headers=headers)
                if not answer.has_redirect_location:
                    release = answer.headers.get(RELEASE_HEADER, "")
                    return _Seen(answer.status_code, release, empty=not answer.content)
                url = urljoin(url, answer.headers["location"])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _Seen(0, trouble=f"no answer ({type(error).__name__})")
        return _Seen(0, trouble=f"more than {MOST_REDIRECTS} redirects")


def _client(timeout: float) -> httpx.AsyncClient:
    """Return a client for plain HTTP on this network: no proxy, and no certificates, which take long to load."""
    return httpx.AsyncClient(timeout=timeout, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def _not_live(url: str, release: str, seen: _Seen) -> ZepidError:
    if seen.status == 0:
        return ZepidError("PUBLISH_FAILED", f"{url} was not served: {seen.trouble}")
    if seen.release != release:
        instead = f"release {seen.release}" if seen.release else "no release"
        return ZepidError("PUBLISH_FAILED", f"{url} answered {seen.status} as {instead}, not as {release}")
    if seen.status == 404:
        return ZepidError(
            "RELEASE_PROBE_FAILED",
            f"{url} answered 404: the output has no index.html at its top. "
            "Write one there, or set the output directory to the folder that has it",
        )
    what = "without a body" if seen.empty and seen.status < 300 else "instead of a page"
    return ZepidError("RELEASE_PROBE_FAILED", f"{url} answered {seen.status} {what} as {release}")
