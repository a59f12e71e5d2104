"""Which git servers may be asked: public ones by https, and whatever else the settings allow."""

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from shared.contracts.errors import ZepidError

Network = IPv4Network | IPv6Network
DEFAULT_PORTS = {"http": 80, "https": 443}

_LONGEST = 2000
_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
_LOOKS_PUBLIC = tuple(map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "2001::/23")))
"""What cloud hosts answer themselves, and special ranges that not every version of Python knows."""
_REF = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]{1,250}")


def networks_of(text: str) -> tuple[Network, ...]:
    """Return the networks of a list separated by commas; raises ValueError."""
    return tuple(ip_network(part) for part in text.replace(" ", "").split(",") if part)


def checked_url(url: str, allowed: Sequence[Network]) -> SplitResult:
    """Return a repository's address in parts, if it may be asked as far as one sees without resolving its name.

    Args:
        url: what the caller gave.
        allowed: networks that may be asked although they are not public, by http too.

    Raises:
        ZepidError: SOURCE_GIT_REFUSED, saying what is wrong with it.
    """
    if len(url) > _LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        raise refused(f"The git URL must be printable ASCII of at most {_LONGEST} characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise refused("The git URL can't be read") from None
    if parts.scheme not in (DEFAULT_PORTS if allowed else ("https",)) or not host:
        raise refused("The git URL must begin with https:// and name a host")
    if "@" in parts.netloc:
        raise refused("The git URL must not hold a user or password")
    if parts.query or parts.fragment:
        raise refused("The git URL must not have a query or a fragment")
    if address := _literal(host):
        check_address(host, address, allowed)
    return parts


def checked_ref(ref: str) -> str:
    """Return a branch, tag or commit if it can be one; "" stands for the server's default branch.

    Raises:
        ZepidError: SOURCE_GIT_REF_MISSING.
    """
    if ref and (not _REF.fullmatch(ref) or ".." in ref):
        raise ZepidError("SOURCE_GIT_REF_MISSING", f"{ref[:100]!r} is not the name of a branch, a tag or a commit")
    return ref


def resolve(host: str, port: int, allowed: Sequence[Network], *, only_allowed: bool = False) -> list[str]:
    """Return the addresses of a host, all of which may be asked; connect to these, never to the name.

    Args:
        host: name or address.
        port: TCP port.
        allowed: networks that may be asked although they are not public.
        only_allowed: public addresses may not be asked: what travels is not encrypted.

    Raises:
        ZepidError: SOURCE_GIT_REFUSED, one of them may not; SOURCE_GIT_UNAVAILABLE, the name is not known.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ZepidError("SOURCE_GIT_UNAVAILABLE", f"The git server's name {host} is not known") from None
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for address in map(ip_address, addresses):
        check_address(host, address, allowed)
        if only_allowed and not _is_in(address, allowed):
            raise refused(f"The git server {host} must be asked by https")
    return addresses


def check_address(host: str, address: IPv4Address | IPv6Address, allowed: Sequence[Network]) -> None:
    """Refuse an address that is not public, unless it is allowed.

    Raises:
        ZepidError: SOURCE_GIT_REFUSED.
    """
    if not _is_public(_meant(address)) and not _is_in(address, allowed):
        raise refused(f"The git server {host} has the address {address}, which is not public")


def refused(message: str) -> ZepidError:
    """Return the error for a server that is not asked."""
    return ZepidError("SOURCE_GIT_REFUSED", message)


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


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
    return address.is_global and not special and not any(address in network for network in _LOOKS_PUBLIC)


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(_meant(address) in network for network in networks)
