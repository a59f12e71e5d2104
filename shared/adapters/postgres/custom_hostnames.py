"""What Cloudflare was asked to serve under customers' names, each changed by one at a time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries
from shared.adapters.postgres.session_lock import holding


class KnownHostname(msgspec.Struct, frozen=True):
    """A name that Cloudflare was asked for, or was about to be; `id` is "" until it has answered."""

    id: str
    state: str


class KnownHostnames:
    """The table `custom_hostname`."""

    def __init__(self, postgres_url: str) -> None:
        self._url = postgres_url
        self._sql = load_queries("custom_hostnames")

    @asynccontextmanager
    async def holding(self, hostname: str) -> AsyncIterator["HeldHostname"]:
        """Be the one who asks Cloudflare about a name, for the length of a block.

        Raises:
            ZepidError: SERVICE_UNAVAILABLE, the database is away.
        """
        async with holding(self._url, f"zepid.hostname.{hostname}") as connection:
            yield HeldHostname(connection, self._sql, hostname)


class HeldHostname:
    """A name that nobody else asks Cloudflare about."""

    def __init__(self, connection: asyncpg.Connection, sql: Any, hostname: str) -> None:
        self._connection = connection
        self._sql = sql
        self._hostname = hostname

    async def is_wanted(self) -> bool:
        """Whether Cloudflare is to serve the name."""
        return bool(await self._sql.is_wanted(self._connection, hostname=self._hostname))

    async def known(self) -> KnownHostname | None:
        """Return what is known of it at Cloudflare; None where nobody has asked."""
        row = await self._sql.known(self._connection, hostname=self._hostname)
        return KnownHostname(row["id"], row["state"]) if row else None

    async def expect(self) -> None:
        """Note that Cloudflare is about to be asked."""
        await self._sql.expect(self._connection, hostname=self._hostname)

    async def note(self, id: str, state: str, records: Sequence[msgspec.Struct]) -> None:
        """Note what Cloudflare has said: its id, the state, and the records that the owner has to set."""
        shown = msgspec.json.encode(records).decode()
        await self._sql.note(self._connection, hostname=self._hostname, id=id, state=state, records=shown)

    async def forget(self) -> None:
        """Note that Cloudflare does not have it any more."""
        await self._sql.forget(self._connection, hostname=self._hostname)
