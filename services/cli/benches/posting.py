"""A client for `POST /deploy` that costs next to nothing, so that a benchmark measures the service."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Post = Callable[[bytes], Awaitable[bytes]]
"""Sends a JSON body to `POST /deploy`; returns the body of the answer."""


@asynccontextmanager
async def posting(port: int, token: str) -> AsyncIterator[Post]:
    """Open one kept-alive connection to a gateway on this host."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /deploy HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()

    async def post(body: bytes) -> bytes:
        writer.write(head + str(len(body)).encode() + b"\r\n\r\n" + body)
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(int(field[15:]) for field in fields if field.startswith(b"content-length:"))
        answer = await reader.readexactly(length)
        if b" 200 " not in status:
            raise RuntimeError(f"POST /deploy answered {status.decode()}: {answer.decode()}")
        return answer

    try:
        yield post
    finally:
        writer.close()
