"""The way out for Workers, with a real server that holds its answers back."""

import asyncio
from functools import partial
from ipaddress import ip_network
from typing import Any

import httpcore

from services.edge.answers import Answer
from services.edge.workers.outbound import Outbound

_MANY = 300


async def fetch(outbound: Outbound, connections: httpcore.AsyncConnectionPool, host: str, path: str) -> Answer:
    """Fetch for a client that sends an empty body and stays."""
    body = asyncio.Queue[dict[str, Any]]()
    body.put_nowait({"type": "http.request"})
    scope = {"method": "GET", "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", host.encode())]}
    return await outbound.fetch(connections, scope, body.get)


async def test_a_worker_that_waits_for_many_answers_holds_up_no_other() -> None:
    held: list[asyncio.StreamWriter] = []
    first_is_held = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/quick" in await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        held.append(writer)
        first_is_held.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    outbound = Outbound((ip_network("127.0.0.0/8"),))
    async with outbound.connections() as greedy, outbound.connections() as modest, asyncio.timeout(10):
        slow = partial(fetch, outbound, greedy, host, "/slow")
        fetches = [asyncio.create_task(slow()) for _ in range(_MANY)]
        await first_is_held.wait()
        assert (await fetch(outbound, modest, host, "/quick")).status == 204
        assert len(held) < _MANY / 2
        assert not any(task.done() for task in fetches)
        for task in fetches:
            task.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
    for writer in held:
        writer.close()
    server.close()
    outbound.close()
