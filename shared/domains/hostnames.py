"""Which host names can be a custom domain."""

import ipaddress
import re

import idna

from shared.adapters.publishers.addresses import Addresses
from shared.contracts.errors import ZepidError

LONGEST = 253
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RESERVED = (
    *("localhost", "local", "internal", "intranet", "private", "corp", "home", "lan", "invalid", "test", "example"),
    *("onion", "arpa", "alt"),
)
"""Names that nobody can own in public DNS, and all below them."""


def custom_hostname(text: str, edge_url: str) -> str:
    """Return a host name as it is asked for: lower case, international names in their ASCII form.

    Args:
        text: what somebody typed.
        edge_url: pattern of the sites' own addresses, which are nobody's custom domains.

    Raises:
        ZepidError: DOMAIN_INVALID.
    """
    hostname = _ascii(text)
    labels = hostname.split(".")
    if len(hostname) > LONGEST or len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)):
        raise _invalid(text, "is not the full name of a domain, such as shop.example.com")
    if _is_address(hostname) or labels[-1].isdigit():
        raise _invalid(text, "is an address, not a name")
    if labels[-1] in _RESERVED:
        raise _invalid(text, f"ends with .{labels[-1]}, which is reserved and nobody can own")
    if any(hostname == suffix[1:] or hostname.endswith(suffix) for suffix in Addresses(edge_url).suffixes()):
        raise _invalid(text, "belongs to the service's own sites")
    return hostname


def _ascii(text: str) -> str:
    given = text.strip().removesuffix(".").lower()
    if given.isascii():
        return given
    try:
        return idna.encode(given, uts46=True, transitional=False).decode()
    except idna.IDNAError:
        raise _invalid(text, "has characters that no domain has") from None


def _is_address(hostname: str) -> bool:
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        return False
    return True


def _invalid(text: str, why: str) -> ZepidError:
    return ZepidError("DOMAIN_INVALID", f"{text[:LONGEST]!r} {why}")
