"""Whether an address that a customer named may be called: the network behind the service is not theirs to reach."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import Executor
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from shared.contracts.errors import ZepidError
from shared.networks import Network, is_in, may_be_asked


class UnknownHost(ZepidError):
    """The name service knows no such host, now."""


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
    if parts.scheme == "http" and not all(is_in(ip_address(address), allowed) for address in addresses):
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
        UnknownHost: WEBHOOK_URL_REFUSED, the name is not known.
        ZepidError: WEBHOOK_URL_REFUSED, an address is not public.
    """
    look_up = asyncio.get_running_loop().run_in_executor
    try:
        found = await look_up(executor, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        raise UnknownHost("WEBHOOK_URL_REFUSED", f"The host {host} is not known") from None
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for address in map(ip_address, addresses):
        if not may_be_asked(address, allowed):
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
