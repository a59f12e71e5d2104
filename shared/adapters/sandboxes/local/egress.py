"""The way out of a sandbox that has no network: a proxy at a socket, which connects to public addresses only.

Install scripts are untrusted: they must reach neither this host nor the network behind it. The registry is reached by
its name, wherever that leads, because the operator's own settings name it.
"""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

from shared.adapters.sandboxes.local.files import make_folder, remove_tree
from shared.adapters.sandboxes.local.registry import Registry
from shared.contracts.errors import ZepidError
from shared.networks import Network
from shared.ports import OnOutput
from shared.public_targets import UnknownHost, public_addresses, refused
from shared.unix_sockets import listening, socket_path

FOLDER_INSIDE = "/run/egress"
"""Where the sandbox sees the folder with the socket."""
_SOCKET = "proxy.sock"
_PORT = 8118
_ADDRESS = f"http://127.0.0.1:{_PORT}"
_LOW_PORTS = (22, 80, 443)
"""Besides those above 1023: a package is not got from a mail server."""
_SECONDS = 30.0
_MOST_HEAD_BYTES = 64 << 10
_PIECE_BYTES = 256 << 10
_UNFIT = (ValueError, EOFError, asyncio.LimitOverrunError, TimeoutError, OSError)

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def with_egress(argv: list[str]) -> list[str]:
    """Return a command line that runs another with the socket as its proxy."""
    script = files(__package__).joinpath("way_out.cjs").read_text()
    return ["node", "-e", script, "--", f"{FOLDER_INSIDE}/{_SOCKET}", str(_PORT), *argv]


def proxied(variables: dict[str, str]) -> dict[str, str]:
    """Return variables for an install with the socket as its proxy, in the spelling of every package manager."""
    kept = {name: value for name, value in variables.items() if not name.lower().endswith("proxy")}
    names = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "npm_config_https_proxy", "npm_config_proxy")
    named = dict.fromkeys((*names, "YARN_HTTPS_PROXY", "YARN_HTTP_PROXY"), _ADDRESS)
    return {**kept, **named, "NODE_USE_ENV_PROXY": "1"}


class Egress:
    """The way out of one command.

    Args:
        registry: the host's own way to the registry.
        hosts: names of the hosts that it may reach, as `Run` has them.
        allowed: networks that may be reached although they are not public.
        say: is told what was refused, as a line of the command's output.

    Attributes:
        was_used: whether another host was reached.
    """

    def __init__(self, registry: Registry, hosts: Sequence[str], allowed: Sequence[Network], say: OnOutput) -> None:
        self.was_used = False
        self._registry = registry
        self._hosts = [host.lower() for host in hosts]
        self._allowed = allowed
        self._say = say
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, sandbox: Path) -> AsyncIterator[Path]:
        """Serve for the length of a block; yields the folder with the socket, below the sandbox's own."""
        folder = sandbox / f"egress-{uuid.uuid4().hex}"
        make_folder(folder, 0o755)
        try:
            with socket_path(folder) as short, listening(f"{short}/{_SOCKET}") as listener:
                server = await asyncio.start_unix_server(self._accept, sock=listener, limit=_MOST_HEAD_BYTES)
                try:
                    yield folder
                finally:
                    server.close()
                    for serving in self._serving:
                        serving.cancel()
                    await asyncio.gather(*self._serving, return_exceptions=True)
        finally:
            await asyncio.to_thread(remove_tree, folder)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outside: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(_SECONDS):
                wanted = _Wanted.parse(await reader.readuntil(b"\r\n\r\n"))
            answers, outside = await self._reach(wanted, writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pour(reader, outside))
                both.create_task(_pour(answers, writer))
        except* _UNFIT:
            pass  # either side left, or never spoke HTTP
        finally:
            for each in filter(None, (writer, outside)):
                each.close()

    async def _reach(self, wanted: "_Wanted", writer: asyncio.StreamWriter) -> _Streams:
        """Connect and begin; raises OSError after having told the command why not."""
        try:
            async with asyncio.timeout(_SECONDS):
                answers, outside = await self._connect(wanted.host, wanted.port)
        except (ZepidError, *_UNFIT) as error:
            is_away = isinstance(error, (UnknownHost, *_UNFIT))
            status, became = ("502 Bad Gateway", "not reached") if is_away else ("403 Forbidden", "refused")
            reason = str(error) or "it did not answer in time"
            self._say("stderr", f"network: {wanted.host}:{wanted.port} was {became}: {reason}")
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            raise ConnectionRefusedError(reason) from error
        self.was_used = True
        (outside if wanted.head else writer).write(wanted.head or b"HTTP/1.1 200 Connection established\r\n\r\n")
        return answers, outside

    async def _connect(self, host: str, port: int) -> _Streams:
        if not any(map(partial(_is_named, host), self._hosts)):
            raise refused(f"{host} is not among the hosts that it may reach")
        addresses = [host]
        if (host, port) not in self._registry.endpoints:
            if port < 1024 and port not in _LOW_PORTS:
                raise refused(f"port {port} is closed")
            addresses = await public_addresses(host, port, self._allowed)
        if proxy := self._registry.proxy_for(host):
            return await _through(proxy, host, port)
        for address in addresses[:-1]:
            with suppress(OSError):
                return await asyncio.open_connection(address, port)
        return await asyncio.open_connection(addresses[-1], port)


class _Wanted(NamedTuple):
    """What a request to the proxy wants.

    Attributes:
        head: what is sent on in its place; empty for a tunnel.
    """

    host: str
    port: int
    head: bytes

    @classmethod
    def parse(cls, head: bytes) -> Self:
        """Read a request; raises ValueError."""
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = first.split(" ")
        if method == "CONNECT":
            url = urlsplit(f"//{target}")
            return cls(url.hostname or "", url.port or 443, b"")
        url = urlsplit(target)
        if url.scheme != "http" or not url.hostname:
            raise ValueError(f"no address in {first!r}")
        kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:", "keep-alive:"))]
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        sent = "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""])
        return cls(url.hostname, url.port or 80, sent.encode("latin-1"))


def _is_named(host: str, name: str) -> bool:
    return name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:]))


async def _through(proxy: str, host: str, port: int) -> _Streams:
    """Connect by the host's own proxy, which looks the name up itself; raises OSError where it refuses."""
    url = urlsplit(proxy)
    answers, outside = await asyncio.open_connection(
        url.hostname, url.port or (443 if url.scheme == "https" else 80), ssl=url.scheme == "https" or None
    )
    head = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    if url.username:
        secret = base64.b64encode(f"{unquote(url.username)}:{unquote(url.password or '')}".encode()).decode()
        head += f"Proxy-Authorization: Basic {secret}\r\n"
    outside.write(f"{head}\r\n".encode())
    answer = await answers.readuntil(b"\r\n\r\n")
    if answer.split(b" ")[1] != b"200":
        outside.close()
        raise ConnectionRefusedError(f"the proxy says {answer.splitlines()[0].decode(errors='replace')}")
    return answers, outside


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_PIECE_BYTES):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()
