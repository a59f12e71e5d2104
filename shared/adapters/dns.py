"""Questions to the domain name system."""

from collections.abc import Iterable, Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

_TRY_SECONDS = 2.0
_LIFETIME_SECONDS = 5.0


class DnsAway(Exception):
    """No name server gives an answer just now."""


class Dns:
    """Asks the given servers, each an address and a port; by default those of the host."""

    def __init__(self, servers: Sequence[tuple[str, int]] = ()) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in servers]
        self._resolver.timeout = _TRY_SECONDS
        self._resolver.lifetime = _LIFETIME_SECONDS

    async def texts(self, name: str) -> list[str]:
        """Return the TXT records of a name, [] when there is none; raises DnsAway."""
        return [b"".join(record.strings).decode(errors="replace") for record in await self._ask(name, "TXT")]

    async def addresses(self, name: str) -> list[str]:
        """Return the IPv4, then the IPv6 addresses of a name, [] when there is none; raises DnsAway."""
        return [record.address for kind in ("A", "AAAA") for record in await self._ask(name, kind)]

    async def _ask(self, name: str, kind: str) -> Iterable[Any]:
        try:
            return await self._resolver.resolve(f"{name}.", kind)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as error:
            raise DnsAway(f"The name servers do not answer for {name}") from error
