"""Carries one message to its endpoint: signed, to a public address, without following anybody elsewhere."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import httpcore
import httpx
import msgspec
from standardwebhooks import Webhook

from shared.adapters.postgres.outbox import DueDelivery
from shared.contracts.errors import ZepidError
from shared.networks import Network
from shared.public_network import PublicNetwork
from shared.sealing import Seal
from shared.telemetry import SERVICE_VERSION

_LONGEST_FAULT = 300


class Reply(msgspec.Struct, frozen=True):
    """What an endpoint did with a message.

    Attributes:
        status: HTTP status, None when there was no answer.
        fault: why it does not count as taken, for people; empty when it does.
        retry_after: seconds the endpoint asks to wait.
        is_gone: the endpoint wants no more messages.
    """

    status: int | None
    fault: str = ""
    retry_after: float = 0.0
    is_gone: bool = False


class Postman:
    """Sends messages; every one over a connection of its own, to an address that was checked for it."""

    def __init__(self, seal: Seal, allowed: Sequence[Network], timeout: float, concurrency: int) -> None:
        """Wait at most `timeout` seconds for an answer, and for `concurrency` endpoints at once."""
        self._seal = seal
        self._timeout = timeout
        self._resolvers = ThreadPoolExecutor(concurrency, thread_name_prefix="resolve")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=concurrency,
            max_keepalive_connections=0,
            network_backend=PublicNetwork(allowed, self._resolvers),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.aclose()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def carry(self, delivery: DueDelivery) -> Reply:
        """Send a message once; whatever goes wrong is in the reply."""
        try:
            headers, body = self._headers(delivery), delivery.payload.encode()
            async with (
                asyncio.timeout(self._timeout),
                self._pool.stream("POST", delivery.url, headers=headers, content=body) as response,
            ):
                return _reply(response.status, dict(response.headers))
        except TimeoutError:
            return Reply(None, f"No answer within {self._timeout:g} s")
        except ZepidError as error:
            return Reply(None, error.message)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            return Reply(None, f"The connection failed: {str(error) or type(error).__name__}"[:_LONGEST_FAULT])

    def _headers(self, delivery: DueDelivery) -> Mapping[str | bytes, str | bytes]:
        now = datetime.now(UTC)
        signers = [Webhook(self._seal.open(secret)) for secret in delivery.secrets]
        return {
            "content-type": "application/json",
            "user-agent": f"Zepid-Deploy/{SERVICE_VERSION}",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(delivery.id, now, delivery.payload) for signer in signers),
        }


def _reply(status: int, headers: dict[bytes, bytes]) -> Reply:
    """The status decides; the body of an answer is not read."""
    if 200 <= status < 300:
        return Reply(status)
    if 300 <= status < 400:
        return Reply(status, f"HTTP {status}: redirects are not followed")
    after = next((value for name, value in headers.items() if name.lower() == b"retry-after"), b"")
    seconds = float(after) if after.isdigit() and len(after) < 7 else 0.0
    return Reply(status, f"HTTP {status}", seconds, is_gone=status == 410)
