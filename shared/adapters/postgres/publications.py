"""Publishing a site to a place that keeps copies: one at a time for each site, and always what the pointer names."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries
from shared.adapters.postgres.session_lock import holding
from shared.ports import Pointed
from shared.sealing import Seal


class Publications:
    """The pointers of sites on one target."""

    def __init__(self, postgres_url: str, seal: Seal, target: str) -> None:
        self._url = postgres_url
        self._seal = seal
        self._target = target
        self._sql = load_queries("publications")

    @asynccontextmanager
    async def publishing(self, site: str) -> AsyncIterator["SitePointer"]:
        """Hold the site's lock for the length of a block, once it is free.

        Raises:
            ZepidError: SERVICE_UNAVAILABLE, the database is away.
        """
        async with holding(self._url, f"zepid.publish.{site}") as connection:
            yield SitePointer(connection, self._sql, self._seal, site, self._target)


class SitePointer:
    """The pointer of a site that is locked."""

    def __init__(self, connection: asyncpg.Connection, sql: Any, seal: Seal, site: str, target: str) -> None:
        self._connection = connection
        self._sql = sql
        self._seal = seal
        self._site = site
        self._target = target

    async def read(self) -> Pointed:
        """Return what the pointer names now."""
        row = await self._sql.pointed(self._connection, site=self._site, target=self._target)
        return Pointed(row["release"], row["manifest"], row["published"])

    async def variables(self, release: str) -> dict[str, str]:
        """Return the environment frozen with a release.

        Raises:
            ZepidError: ENCRYPTION_KEY_MISSING or SECRET_UNREADABLE.
        """
        sealed = await self._sql.release_variables(self._connection, release=release) or "{}"
        return self._seal.open_each(msgspec.json.decode(sealed, type=dict[str, str]))

    async def begin(self, release: str) -> None:
        """Note what the place is about to serve."""
        await self._sql.begin(self._connection, site=self._site, target=self._target, release=release)

    async def finish(self) -> None:
        """Note that the place serves it."""
        await self._sql.finish(self._connection, site=self._site, target=self._target)

    async def end(self) -> None:
        """Note that the place serves nothing any more."""
        await self._sql.end(self._connection, site=self._site, target=self._target)


async def take_astray(
    pool: asyncpg.Pool, targets: Sequence[str], *, quiet_seconds: float, limit: int
) -> list[tuple[str, str]]:
    """Return sites, each with the target that does not serve what the pointer names; nobody else gets them for a while.

    Args:
        pool: of the database.
        targets: places that keep copies.
        quiet_seconds: for so long nobody has begun to publish it, nor moved the pointer, nor is anybody at work.
        limit: at most so many.
    """
    rows = load_queries("publications").take_astray(
        pool, targets=list(targets), quiet_seconds=quiet_seconds, limit=limit
    )
    return [(row["site"], row["target"]) async for row in rows]
