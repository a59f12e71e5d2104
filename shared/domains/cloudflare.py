"""Custom domains on Cloudflare: it is asked for those that it is to serve, and told to forget the others.

The rows of domains and pointers are what is wanted. What Cloudflare has follows them under a lock of the name, and is
noted before it is asked for, so that whoever was stopped on the way can only have left what a later look finds.
"""

import asyncio

from shared.adapters.postgres.custom_hostnames import HeldHostname, KnownHostnames
from shared.adapters.publishers.cloudflare.api import open_api
from shared.adapters.publishers.cloudflare.hostnames import CustomHostnames, Hostname
from shared.contracts.errors import ZepidError
from shared.settings import Settings

AT_ONCE = 5
"""Names that one process asks about at the same time: each takes a connection to the database meanwhile."""
PATIENCE_SECONDS = 20.0
"""Nobody waits longer for one name; whatever was begun by then a later look finds."""
_NO_ZONE = "The project is served on Cloudflare, and CLOUDFLARE_ZONE_ID is not set: the operator sets up custom domains"


class CloudflareDomains:
    """The custom host names of `CLOUDFLARE_ZONE_ID`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known = KnownHostnames(settings.postgres_url)
        self._few = asyncio.Semaphore(AT_ONCE)

    @property
    def is_set_up(self) -> bool:
        """Whether there is a zone to make names in."""
        return "cloudflare" in self._settings.targets and bool(self._settings.cloudflare_zone_id)

    async def follow(self, hostname: str) -> str:
        """Let Cloudflare serve a name if that is wanted, else forget it; return why it is not served, "" if it is.

        Repeating it changes nothing. A name that has failed is asked for anew at the next look.

        Raises:
            ZepidError: SERVICE_UNAVAILABLE, the database is away.
        """
        if not self.is_set_up:
            return _NO_ZONE
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._follow(hostname)
        except TimeoutError:
            return "Cloudflare does not answer; it is asked again"

    async def _follow(self, hostname: str) -> str:
        async with self._few, self._known.holding(hostname) as held, open_api(self._settings) as api:
            names = CustomHostnames(api, self._settings)
            try:
                if await held.is_wanted():
                    return _fault(await _asked(names, held, hostname))
                await _forget(names, held, hostname)
                return "The domain is no longer one for Cloudflare to serve"
            except ZepidError as error:
                return f"{error.message}; Cloudflare is asked again"


async def _asked(names: CustomHostnames, held: HeldHostname, hostname: str) -> Hostname:
    """Return what Cloudflare says of the name, asking for it where it has none."""
    known, found = await held.known(), None
    if known is None:
        await held.expect()
    elif known.state == "failed":
        await names.delete(known.id)
    elif known.id:
        found = await names.get(known.id)
    found = found or await names.create(hostname)
    await held.note(found.id, found.state, found.records)
    return found


async def _forget(names: CustomHostnames, held: HeldHostname, hostname: str) -> None:
    """Remove the name, also one whose answer was never read."""
    known = await held.known()
    if known is None:
        return
    if there := known.id or await _id_of(names, hostname):
        await names.delete(there)
    await held.forget()


async def _id_of(names: CustomHostnames, hostname: str) -> str:
    found = await names.find(hostname)
    return found.id if found else ""


def _fault(found: Hostname) -> str:
    if found.state == "active":
        return ""
    if found.state == "failed":
        return f"Cloudflare does not serve it ({found.status}, certificate {found.ssl}); it is asked anew"
    if found.records:
        return f"Cloudflare waits for the TXT record at {' and '.join(record.name for record in found.records)}"
    return f"Cloudflare makes the certificate ({found.ssl})"
