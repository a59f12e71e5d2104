"""The ASGI extension `http.response.zerocopysend` for uvicorn: files go to the socket without passing through Python.

After `http.response.start` with a `content-length`, an app may send one message of that type: `file`, an open file,
`offset` and `count`, in bytes. It is the whole body. A file that ends too early cuts the connection.
"""

import asyncio
import os
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

EXTENSION = "http.response.zerocopysend"
_MOST_AT_ONCE = 8 << 20
"""Bytes for one call into the kernel, so that others get their turn."""


class ZeroCopyProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, whose apps may send files."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope.setdefault("extensions", {})[EXTENSION] = {}
        super()._start_asgi_task(cycle, partial(_run, app, cycle))


async def _run(app: Any, cycle: RequestResponseCycle, scope: Any, receive: Any, send: Any) -> None:
    async def send_any(message: Any) -> None:
        if message["type"] == EXTENSION:
            await _send_file(cycle, message["file"].fileno(), message["offset"], message["count"])
        else:
            await send(message)

    await app(scope, receive, send_any)


async def _send_file(cycle: RequestResponseCycle, file: int, offset: int, count: int) -> None:
    socket = os.dup(cycle.transport.get_extra_info("socket").fileno())
    try:
        await _until_written(cycle.transport, socket)
        end = offset + count
        while offset < end and not cycle.disconnected:
            try:
                sent = os.sendfile(socket, file, offset, min(end - offset, _MOST_AT_ONCE))
            except BlockingIOError:
                await _until_writable(socket)
                continue
            if not sent:
                return
            offset += sent
            await asyncio.sleep(0)
    except ConnectionError:
        return
    finally:
        os.close(socket)
    cycle.expected_content_length = 0
    await cycle.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_written(transport: Any, socket: int) -> None:
    """Wait until the server has written what it holds for this connection: the head of the answer."""
    while transport.get_write_buffer_size() and not transport.is_closing():
        await _until_writable(socket)
        await asyncio.sleep(0)


async def _until_writable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    loop.add_writer(socket, writable.set)
    try:
        await writable.wait()
    finally:
        loop.remove_writer(socket)
