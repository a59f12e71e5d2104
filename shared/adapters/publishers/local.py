"""The publisher of the edge: sites are served by our own process, from the pointer in SQL."""

import ssl
from collections.abc import Mapping
from functools import partial
from urllib.parse import urljoin, urlsplit

import httpx

from shared.adapters.publishers.addresses import Addresses
from shared.adapters.publishers.probing import MOST_REDIRECTS, Seen, look_closer, probe_until, seen_in
from shared.adapters.workerd.runtime import Runtime
from shared.settings import Settings

PROBE_SECONDS = 10.0
_FOR_PAGES = {"accept": "text/html,*/*"}
_FOR_FILES = {"accept": "*/*", "sec-fetch-mode": "no-cors"}
"""As a page asks for what it needs: never answered with the page of an application that routes by itself."""


class LocalPublisher:
    """Serves releases through the edge that listens at `EDGE_ADDRESS`."""

    def __init__(self, settings: Settings, *, probe_seconds: float = PROBE_SECONDS) -> None:
        self._addresses = Addresses(settings.edge_url)
        self._edge = settings.edge_address
        self._probe_seconds = probe_seconds
        self._runtime = Runtime(settings.data_path)

    def public_url(self, site: str) -> str:
        """The address people use."""
        return self._addresses.of_site(site)

    def release_url(self, site: str, release: str) -> str:
        """The address of one release."""
        return self._addresses.of_release(site, release)

    async def prepare_workers(self) -> None:
        """Install their runtime on this host, where the edge looks for it too; raises WORKER_RUNTIME_MISSING."""
        await self._runtime.provide()

    async def publish(self, site: str, release: str) -> None:
        """Do nothing: the pointer in SQL is what the edge reads."""

    async def probe(self, url: str, release: str) -> None:
        """Ask the edge for an address until it answers 2xx as this release, with a body.

        The request goes to `EDGE_ADDRESS` with the address's host name, so that name need not resolve.

        Raises:
            ZepidError: RELEASE_PROBE_FAILED, the release answered and is not a page (said at once if it
                cannot change); PUBLISH_FAILED, the edge was away or served something else until the end.
        """
        async with _client(self._probe_seconds) as client:
            await probe_until(url, release, partial(self._ask, client), within=self._probe_seconds)

    async def _ask(self, client: httpx.AsyncClient, url: str) -> Seen:
        """Ask once for a page and what it needs."""
        answer = await self._get(client, url)
        if isinstance(answer, Seen):
            return answer

        async def ask(address: str) -> Seen:
            found = await self._get(client, address, _FOR_FILES)
            return found if isinstance(found, Seen) else seen_in(found)

        page = f"{urlsplit(url).scheme}://{answer.request.headers['host']}{answer.request.url.path}"
        return await look_closer(seen_in(answer), answer, page, url, ask)

    async def _get(
        self, client: httpx.AsyncClient, url: str, kind: Mapping[str, str] = _FOR_PAGES
    ) -> httpx.Response | Seen:
        """Ask, following redirects; each of them goes to the edge again, wherever it leads."""
        try:
            for _ in range(MOST_REDIRECTS):
                parts = urlsplit(url)
                target = f"http://{self._edge}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
                answer = await client.get(target, headers={"host": parts.netloc, "user-agent": "zepid-probe", **kind})
                if not answer.has_redirect_location:
                    return answer
                url = urljoin(url, answer.headers["location"])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Seen(0, trouble=f"no answer ({type(error).__name__})")
        return Seen(0, trouble=f"more than {MOST_REDIRECTS} redirects")


def _client(timeout: float) -> httpx.AsyncClient:
    """Return a client for plain HTTP on this network: no proxy, and no certificates, which take long to load."""
    return httpx.AsyncClient(timeout=timeout, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
