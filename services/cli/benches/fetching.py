"""A client for GET that costs next to nothing: one kept-alive connection for each of those who ask in turn."""

import asyncio
import socket
import time
from collections.abc import Iterable

from services.cli.benches.floor import Sample

_BUFFER_BYTES = 1 << 20


class Fetcher:
    """Asks one server on this host for the files of one site."""

    def __init__(self, port: int, host: str) -> None:
        self.port = port
        self._host = host

    async def small(self, paths: list[str], count: int, concurrency: int) -> Sample:
        """Fetch `count` files, `concurrency` at a time, the paths in turn."""
        numbers, seconds = iter(range(count)), list[float]()

        async def fetch_in_turn() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            for number in numbers:
                began = time.perf_counter()
                writer.write(self._request(paths[number % len(paths)]))
                await _answer(reader)
                seconds.append(time.perf_counter() - began)
            writer.close()

        started = time.perf_counter()
        await asyncio.gather(*(fetch_in_turn() for _ in range(concurrency)))
        return Sample(seconds, time.perf_counter() - started)

    async def large(self, path: str, count: int) -> float:
        """Fetch a file so often, over one connection; return bytes a second."""
        return await asyncio.to_thread(self._receive, path, count)

    async def once(self, hosts: Iterable[str], path: str) -> None:
        """Fetch a path of each host over one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for host in hosts:
            writer.write(self._request(path, host))
            await _answer(reader)
        writer.close()

    async def answer(self, path: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return the headers and the body of one answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self._request(path))
        headers, body = await _answer(reader)
        writer.close()
        return headers, body

    def _receive(self, path: str, count: int) -> float:
        """Receive into one buffer, without the interpreter's lock: the client must not be what is measured."""
        buffer, received, started = bytearray(_BUFFER_BYTES), 0, time.perf_counter()
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            for _ in range(count):
                connection.sendall(self._request(path))
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(64)
                head, _, body = head.partition(b"\r\n\r\n")
                left = _length(head) - len(body)
                received += left
                while left:
                    taken = connection.recv_into(buffer, min(left, _BUFFER_BYTES))
                    if not taken:
                        raise RuntimeError(f"{path} was cut off, {left} bytes before its end")
                    left -= taken
        return received / (time.perf_counter() - started)

    def _request(self, path: str, host: str = "") -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {host or self._host}\r\n\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[list[tuple[bytes, bytes]], bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(_length(head))
    status, *lines = head.rstrip().split(b"\r\n")
    if b" 200 " not in status:
        raise RuntimeError(f"answered {status.decode()}: {body[:200].decode(errors='replace')}")
    fields = (line.partition(b": ") for line in lines)
    return [(name.lower(), value) for name, _, value in fields], body


def _length(head: bytes) -> int:
    fields = head.lower().split(b"\r\n")
    return next(int(field[15:]) for field in fields if field.startswith(b"content-length:"))
