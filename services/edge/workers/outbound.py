"""Fetches for Workers: from public addresses only, in pieces as they come."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpcore
import httpx

from services.edge.answers import Answer, text
from services.edge.workers.carrying import CUT_OFF, Carrier
from shared.adapters.workerd.config import BINDING_HEADER, PROTOCOL_HEADER
from shared.asgi import Receive, Scope
from shared.contracts.errors import ZepidError
from shared.networks import Network
from shared.public_network import PublicNetwork

_MOST_CONNECTIONS = 32
"""Of one Worker: what it fetches beyond them waits, and holds up no other Worker."""
_RESOLVERS = 64
_ANSWER_SECONDS = 60.0
_OURS = (BINDING_HEADER.encode(), PROTOCOL_HEADER.encode())


class Outbound:
    """The way out for Workers.

    Args:
        allowed: networks that may be reached although they are not public.
    """

    def __init__(self, allowed: tuple[Network, ...]) -> None:
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolve")
        self._network = PublicNetwork(allowed, self._resolvers)
        self._ssl = httpx.create_ssl_context()

    def connections(self) -> httpcore.AsyncConnectionPool:
        """Return the connections of one Worker, to be closed after it."""
        return httpcore.AsyncConnectionPool(
            ssl_context=self._ssl, max_connections=_MOST_CONNECTIONS, network_backend=self._network
        )

    def close(self) -> None:
        """Resolve no more names."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, connections: httpcore.AsyncConnectionPool, scope: Scope, receive: Receive) -> Answer:
        """Fetch what a Worker asks for; where that can't be, the answer says why."""
        headers = dict(scope["headers"])
        host, scheme = headers.get(b"host", b""), headers.get(PROTOCOL_HEADER.encode(), b"http")
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        try:
            at = httpcore.URL(scheme + b"://" + host)
            url = httpcore.URL(scheme=at.scheme, host=at.host, port=at.port, target=scope["raw_path"] + query)
            sent = [each for each in scope["headers"] if each[0] not in _OURS]
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await Carrier(receive).carry(connections, scope["method"], url, sent)
        except ZepidError as error:
            return text(f"This fetch is not possible: {error.message}", 403)
        except (*CUT_OFF, TimeoutError, ValueError) as error:
            return text(f"This fetch failed: {str(error) or type(error).__name__}", 502)
