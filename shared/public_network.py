"""Connections to checked addresses only, for HTTP clients that follow what a customer named."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from typing import Any

import httpcore

from shared.networks import Network
from shared.public_targets import public_addresses


class PublicNetwork(httpcore.AnyIOBackend):
    """Connects to checked addresses, so that a name can't lead elsewhere between check and connection.

    Args:
        allowed: networks that may be reached although they are not public.
        resolvers: where to wait for the name service.
    """

    def __init__(self, allowed: Sequence[Network], resolvers: Executor) -> None:
        self._allowed = allowed
        self._resolvers = resolvers

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Try the host's addresses in turn; raises ZepidError where one of them must not be reached."""
        *others, last = await public_addresses(host, port, self._allowed, self._resolvers)
        for address in others:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await super().connect_tcp(last, port, timeout, local_address, socket_options)
