"""The publisher of Cloudflare: makes it serve what the pointer names, and sees it live."""

import asyncio
from functools import partial

import httpx

from shared.adapters.publishers.addresses import Addresses
from shared.adapters.publishers.cloudflare.account import Account
from shared.adapters.publishers.cloudflare.api import CloudflareApi, Pause, open_api
from shared.adapters.publishers.cloudflare.assets import Hashes
from shared.adapters.publishers.cloudflare.script import WORKER_TAG, Publication
from shared.adapters.publishers.local import LocalPublisher
from shared.adapters.publishers.probing import Seen, probe_until, seen_in
from shared.blobs import load_manifest
from shared.ports import Objects, Pointed, Pointer, Pointers
from shared.settings import Settings

PROBE_SECONDS = 30.0
"""A switch takes a while to be seen from everywhere."""
LONGEST_PAUSE = 1.0


class CloudflarePublisher:
    """Serves releases as scripts of a dispatch namespace, or of the account where none is named.

    A release's own address, at which it is seen before the switch, is the edge's.
    """

    def __init__(
        self,
        settings: Settings,
        objects: Objects,
        pointers: Pointers,
        *,
        probe_seconds: float = PROBE_SECONDS,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._objects = objects
        self._pointers = pointers
        self._hashes = Hashes(objects)
        self._addresses = Addresses(settings.cloudflare_url)
        self._edge = LocalPublisher(settings)
        self._probe_seconds = probe_seconds
        self._pause = pause
        self._checked = False

    def public_url(self, site: str) -> str:
        """The address people use."""
        return self._addresses.of_site(site)

    def release_url(self, site: str, release: str) -> str:
        """The address of one release, at the edge."""
        return self._edge.release_url(site, release)

    async def prepare_workers(self) -> None:
        """Do nothing: Cloudflare runs them."""

    async def publish(self, site: str, release: str) -> None:
        """Bring what the pointer names, until it still names that afterwards; one at a time for a site.

        So whoever comes late, or was stopped on the way, can only bring what is wanted. Files that
        Cloudflare has are not uploaded again, nor is a release that it serves.

        Raises:
            ZepidError: PUBLISH_…, with Cloudflare's own message; what database and bucket raise.
        """
        async with self._pointers.publishing(site) as pointer, open_api(self._settings, self._pause) as api:
            brought = None
            while (wanted := await pointer.read()).release != brought:
                await self._bring(self._account(api), site, pointer, wanted)
                brought = wanted.release

    async def probe(self, url: str, release: str) -> None:
        """Ask an address until it answers 2xx as this release; a release's own address is asked of the edge.

        Raises:
            ZepidError: RELEASE_PROBE_FAILED or PUBLISH_FAILED, as the local publisher.
        """
        site = self._addresses.site_of(url)
        if site is None:
            await self._edge.probe(url, release)
            return
        async with open_api(self._settings, self._pause) as api, httpx.AsyncClient(timeout=self._probe_seconds) as web:
            ask = partial(self._ask, web, self._account(api), site, release)
            await probe_until(url, release, ask, within=self._probe_seconds, longest_pause=LONGEST_PAUSE)

    async def _bring(self, account: Account, site: str, pointer: Pointer, wanted: Pointed) -> None:
        if not self._checked:
            await account.check()
            self._checked = True
        if wanted.release:
            manifest = await load_manifest(self._objects, wanted.manifest)
            variables = await pointer.variables(wanted.release) if manifest.served.worker else {}
            await pointer.begin(wanted.release)
            await account.serve(Publication(site, wanted.release, manifest, variables))
            await pointer.finish()
        elif wanted.published:
            await account.remove(site)
            await pointer.end()

    async def _ask(self, web: httpx.AsyncClient, account: Account, site: str, release: str, url: str) -> Seen:
        """Ask once. A Worker's own answers carry no release: then the script that is in force says which it is."""
        try:
            answer = await web.get(url, headers={"user-agent": "zepid-probe"}, follow_redirects=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Seen(0, trouble=f"no answer ({type(error).__name__})")
        seen = seen_in(answer)
        if not seen.release and {release, WORKER_TAG} <= await account.tags(site):
            return seen._replace(release=release)
        return seen

    def _account(self, api: CloudflareApi) -> Account:
        return Account(api, self._settings.dispatch_namespace_name, self._objects, self._hashes)
