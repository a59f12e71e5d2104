"""Whether an address that a customer named may be called: the network behind the service is not theirs to reach."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import Executor
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from shared.contracts.errors import ZepidError
from shared.settings import Network

_LOOKS_PUBLIC = tuple(map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "2001::/23")))
"""What cloud hosts answer themselves, and special ranges that not every version of Python knows."""
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_PORTS = {"http": 80, "https": 443}
_LONGEST = 2000


async def check_url(url: str, allowed: Sequence[Network]) -> None:
    """Refuse an address that must not be called, or not without encryption.

    Raises:
        ZepidError: WEBHOOK_URL_REFUSED; the message says what is wrong with it.
    """
    parts = _parts(url)
    host = parts.hostname or ""
    addresses = await public_addresses(host, parts.port or _PORTS[parts.scheme], allowed)
    if parts.scheme == "http" and not all(_is_in(ip_address(address), allowed) for address in addresses):
        raise refused("The URL must begin with https://")


async def public_addresses(
    host: str, port: int, allowed: Sequence[Network], executor: Executor | None = None
) -> list[str]:
    """Resolve a host; return its addresses, all of which may be called. Connect to these, not to the name.

    Args:
        host: name or address.
        port: TCP port.
        allowed: networks that may be called although they are not public.
        executor: where to wait for the name service; default: the loop's.

    Raises:
        ZepidError: WEBHOOK_URL_REFUSED, the name is not known or an address is not public.
    """
    look_up = asyncio.get_running_loop().run_in_executor
    try:
        found = await look_up(executor, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        raise refused(f"The host {host} is not known") from None
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for address in map(ip_address, addresses):
        if not _is_public(_meant(address)) and not _is_in(address, allowed):
            raise refused(f"The host {host} has the address {address}, which is not public")
    return addresses


def refused(message: str) -> ZepidError:
    """Return the error for an address that is not called."""
    return ZepidError("WEBHOOK_URL_REFUSED", message)


def _parts(url: str) -> SplitResult:
    if len(url) > _LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        raise refused(f"The URL must be printable ASCII, at most {_LONGEST} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused("The URL can't be read") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise refused("The URL must be an https:// address")
    if "@" in parts.netloc or parts.fragment:
        raise refused("The URL must have neither user name and password nor a fragment")
    return parts


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and not _is_in(address, _LOOKS_PUBLIC)


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(_meant(address) in network for network in networks)
