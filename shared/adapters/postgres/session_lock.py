"""A lock that one session holds by a name, for work outside the database that may take minutes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from shared.adapters.postgres.database import DATABASE_AWAY
from shared.contracts.errors import ZepidError

_LOCK = "select pg_advisory_lock(hashtextextended($1, 0))"


@asynccontextmanager
async def holding(postgres_url: str, name: str) -> AsyncIterator[asyncpg.Connection]:
    """Hold a lock for the length of a block, once it is free; whoever dies lets go of it.

    It is held by a connection of its own, not one of the pool, which is handed to the block.

    Raises:
        ZepidError: SERVICE_UNAVAILABLE, the database is away.
    """
    try:
        connection = await asyncpg.connect(postgres_url)
    except DATABASE_AWAY as error:
        raise ZepidError("SERVICE_UNAVAILABLE", "the database does not answer") from error
    try:
        await connection.execute(_LOCK, name)
        yield connection
    finally:
        await connection.close()
