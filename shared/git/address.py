"""Which git servers may be asked: public ones by https, and whatever else the settings allow."""

import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from shared.contracts.errors import ZepidError
from shared.networks import Address, Network, is_in, may_be_asked

DEFAULT_PORTS = {"http": 80, "https": 443}

_LONGEST = 2000
_REF = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]{1,250}")


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
        if only_allowed and not is_in(address, allowed):
            raise refused(f"The git server {host} must be asked by https")
    return addresses


def check_address(host: str, address: Address, allowed: Sequence[Network]) -> None:
    """Refuse an address that is not public, unless it is allowed.

    Raises:
        ZepidError: SOURCE_GIT_REFUSED.
    """
    if not may_be_asked(address, allowed):
        raise refused(f"The git server {host} has the address {address}, which is not public")


def refused(message: str) -> ZepidError:
    """Return the error for a server that is not asked."""
    return ZepidError("SOURCE_GIT_REFUSED", message)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
