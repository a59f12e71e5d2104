"""Which addresses callers may have us ask: public ones, for the network behind the service is not theirs to reach."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LOOKS_PUBLIC = tuple(map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "2001::/23")))
"""What cloud hosts answer themselves, and special ranges that not every version of Python knows."""
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def networks_of(text: str) -> tuple[Network, ...]:
    """Return the networks of a list separated by commas; raises ValueError."""
    return tuple(ip_network(part) for part in text.replace(" ", "").split(",") if part)


def may_be_asked(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether an address is public, or in a network that is allowed all the same."""
    return _is_public(_meant(address)) or is_in(address, allowed)


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address leads into one of the networks."""
    return any(_meant(address) in network for network in networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and not is_in(address, _LOOKS_PUBLIC)


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
