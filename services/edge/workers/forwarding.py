"""Asks a Worker's process for an answer."""

import asyncio

import httpcore

from services.edge.answers import Answer
from services.edge.request import Request
from services.edge.workers.carrying import CUT_OFF, Carrier, Headers
from services.edge.workers.worker import Worker
from shared.adapters.workerd.config import PROTOCOL_HEADER
from shared.asgi import Scope
from shared.contracts.errors import ZepidError

_CLIENT_HEADER = b"cf-connecting-ip"


async def forward(worker: Worker, request: Request) -> Answer:
    """Send a request to the Worker; return the answer as soon as its head is here.

    Raises:
        ZepidError: WORKER_FAILED, WORKER_TIMEOUT.
        ClientGone: before the head came.
    """
    carrier = Carrier(request.receive, worker.heard, worker.end)
    query = b"?" + request.query if request.query else b""
    url = httpcore.URL(scheme=b"http", host=b"worker", port=80, target=request.path.encode() + query)
    try:
        async with asyncio.timeout(worker.limits.answer_seconds):
            return await carrier.carry(await worker.begun(), request.method, url, _headers(request.scope))
    except TimeoutError as error:
        message = f"the Worker did not answer within {worker.limits.answer_seconds:g} s"
        raise ZepidError("WORKER_TIMEOUT", message) from error
    except CUT_OFF as error:
        raise await worker.failure() from error


def _headers(scope: Scope) -> Headers:
    """The client's headers, and what the edge knows better than the client."""
    ours = (PROTOCOL_HEADER.encode(), _CLIENT_HEADER)
    address, _ = scope.get("client") or ("", 0)
    said = [(ours[0], scope["scheme"].encode()), (ours[1], address.encode())]
    return [each for each in scope["headers"] if each[0] not in ours] + said
