"""Looking at a custom domain from outside: its challenge record, and whether it leads to its site."""

import asyncio
from ipaddress import ip_address

import httpx

from shared.adapters.dns import Dns, DnsAway
from shared.adapters.postgres.domains import DomainRow
from shared.adapters.publishers.addresses import Addresses
from shared.domains import CHALLENGE, SITE_PATH
from shared.domains.cloudflare import CloudflareDomains
from shared.domains.states import Next, after
from shared.networks import may_be_asked
from shared.settings import Settings

_MOST_ADDRESSES = 4
_ANSWER_SECONDS = 5.0


class Checks:
    """Checks domains. At the edge they are reached as sites are: by the scheme and the port of `EDGE_URL`."""

    def __init__(self, settings: Settings) -> None:
        self._dns = Dns(settings.dns_server_list)
        self._addresses = Addresses(settings.edge_url)
        self._own_network = settings.environment == "development"
        self._cloudflare = CloudflareDomains(settings)

    async def check(self, domain: DomainRow) -> Next:
        """Look at a domain and return what becomes of it; one that Cloudflare is to serve it is asked for."""
        try:
            fault = await self._fault(domain)
        except DnsAway as error:
            fault = f"{error}; they are asked again"
        return after(domain.state, fault, domain.tries, domain.asked_seconds)

    async def _fault(self, domain: DomainRow) -> str:
        if domain.state == "pending":
            return await self._owned(domain)
        if domain.target == "cloudflare":
            return await self._cloudflare.follow(domain.hostname)
        return await self._reached(domain)

    async def _owned(self, domain: DomainRow) -> str:
        name = CHALLENGE + domain.hostname
        texts = await self._dns.texts(name)
        if domain.token in texts:
            return ""
        if texts:
            return f"The TXT record of {name} does not hold {domain.token}"
        return f"There is no TXT record at {name} yet"

    async def _reached(self, domain: DomainRow) -> str:
        addresses = await self._dns.addresses(domain.hostname)
        if not addresses:
            return f"{domain.hostname} has no address yet: point it to where the sites are served"
        answers = await asyncio.gather(*(self._answer(domain, each) for each in addresses[:_MOST_ADDRESSES]))
        faults = [f"{address} {fault}" for address, fault in zip(addresses, answers, strict=False) if fault]
        return f"{domain.hostname} does not lead to its site: {'; '.join(faults)}" if faults else ""

    async def _answer(self, domain: DomainRow, address: str) -> str:
        """Return why an address does not answer as the site, "" if it does."""
        if not (self._own_network or may_be_asked(ip_address(address), ())):
            return "is a private address"
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                said = await self._site_at(address, domain.hostname)
        except (httpx.HTTPError, TimeoutError) as error:
            return f"does not answer ({type(error).__name__})"
        return "" if said == domain.site else "is not this service, or it does not know the domain yet"

    async def _site_at(self, address: str, hostname: str) -> str:
        """Return what the host says it is, at most some bytes of it; its certificate must be good."""
        place = f"[{address}]" if ":" in address else address
        async with (
            httpx.AsyncClient(trust_env=False, timeout=_ANSWER_SECONDS) as client,
            client.stream(
                "GET",
                self._addresses.of_domain(place) + SITE_PATH[1:],
                headers={"host": hostname, "accept-encoding": "identity"},
                extensions={"sni_hostname": hostname},
            ) as response,
        ):
            async for piece in response.aiter_raw(256):
                return piece.decode(errors="replace") if response.is_success else ""
        return ""
