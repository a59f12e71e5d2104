"""The servers that the whole system needs, on this host, for as long as one process runs."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from infra.dev.data_dir import locked
from infra.dev.errors import EmbeddedStackError
from infra.dev.nats import NatsServer
from infra.dev.postgres import PostgresServer
from infra.dev.server import Server


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the three parts answer; the names are those of the settings."""

    nats_url: str
    postgres_url: str
    object_store_url: str


class EmbeddedStack:
    """NATS, PostgreSQL and an object folder below `data_dir`; each replaced by an address in `environ`.

    `async with` starts the parts in parallel, gives their `Endpoints`, restarts a server that dies
    on the same port, and stops all at the end. Enter it in the main thread: if that ends in any
    way, so do the servers. Ports and passwords stay the same from one start to the next.

    Attributes:
        nats: the broker, or None where NATS_URL names another.
        postgres: the database server, or None where POSTGRES_URL names another.

    Raises:
        EmbeddedStackError: when entered and a part cannot start, or the folder is in use.
    """

    def __init__(
        self,
        data_dir: Path,
        environ: Mapping[str, str],
        *,
        nats_port: int = 0,
        postgres_port: int = 0,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._environ = environ
        self._exits = AsyncExitStack()
        self.nats = None if environ.get("NATS_URL") else NatsServer(self._data_dir, nats_port)
        self.postgres = None if environ.get("POSTGRES_URL") else PostgresServer(self._data_dir, postgres_port)

    async def __aenter__(self) -> Endpoints:
        servers: list[Server] = [server for server in (self.nats, self.postgres) if server]
        if servers and sys.platform != "linux":
            raise EmbeddedStackError(
                f"The embedded servers run on Linux only, not on {sys.platform}. "
                "Set NATS_URL and POSTGRES_URL to servers of your own."
            )
        async with AsyncExitStack() as exits:
            exits.enter_context(locked(self._data_dir))
            exits.push_async_callback(_all, [server.stop for server in servers])
            await _all([server.start for server in servers])
            endpoints = self._endpoints()
            await exits.enter_async_context(_kept_running(servers))
            self._exits = exits.pop_all()
        return endpoints

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exits.aclose()

    def _endpoints(self) -> Endpoints:
        return Endpoints(
            nats_url=self.nats.url if self.nats else self._environ["NATS_URL"],
            postgres_url=self.postgres.url if self.postgres else self._environ["POSTGRES_URL"],
            object_store_url=self._environ.get("OBJECT_STORE_URL") or self._object_folder(),
        )

    def _object_folder(self) -> str:
        folder = self._data_dir / "objects"
        folder.mkdir(mode=0o700, exist_ok=True)
        return f"file://{folder}"


@asynccontextmanager
async def _kept_running(servers: Sequence[Server]) -> AsyncIterator[None]:
    keepers = [asyncio.create_task(server.keep_running(), name=f"keep-{server.name}") for server in servers]
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _all(actions: Iterable[Callable[[], Coroutine[None, None, None]]]) -> None:
    """Do all at once; the first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(action())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
