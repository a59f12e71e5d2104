"""HTTP connections that go to the address that was checked, so that a name can't come to mean another one.

Redirects open connections too, and are held to the same rules.
"""

import socket
from collections.abc import Sequence

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from shared.git.address import DEFAULT_PORTS, resolve
from shared.networks import Network

_REDIRECTS = 5


def checked_connections(allowed: Sequence[Network]) -> PoolManager:
    """Return what opens connections to public addresses by https, and to allowed networks by http too."""

    def connect(connection: HTTPConnection) -> socket.socket:
        port = connection.port or DEFAULT_PORTS["https"]
        is_plain = not isinstance(connection, HTTPSConnection)
        failure: OSError | None = None
        for address in resolve(connection.host, port, allowed, only_allowed=is_plain):
            try:
                return socket.create_connection((address, port), connection.timeout)
            except TimeoutError as error:
                raise ConnectTimeoutError(connection, f"{connection.host} does not answer") from error
            except OSError as error:
                failure = error
        raise NewConnectionError(connection, f"{connection.host} takes no connection: {failure}")

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    retries = Retry(total=_REDIRECTS, connect=1, read=0, redirect=_REDIRECTS, status=0, other=0)
    manager = PoolManager(num_pools=2, retries=retries)
    manager.pool_classes_by_scheme = (
        {"http": PlainPool, "https": EncryptedPool} if allowed else {"https": EncryptedPool}
    )
    return manager
