"""What keeps blobs from being removed under whoever is about to need them.

Collection removes what no row refers to, a few blobs at a time, while it alone holds this lock. Whoever makes a row
that refers to blobs makes sure afterwards, holding it with others, that they are there: either the row was seen by
the collection, or the loss is seen here.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

_LOCK = "zepid.collection"
_SHARE = f"select pg_advisory_xact_lock_shared(hashtext('{_LOCK}'))"
_TRY = f"select pg_try_advisory_lock(hashtext('{_LOCK}'))"
_UNLOCK = f"select pg_advisory_unlock(hashtext('{_LOCK}'))"


@asynccontextmanager
async def keeping_blobs(pool: asyncpg.Pool) -> AsyncIterator[PoolConnectionProxy]:
    """Let no blob be removed for the length of a block; queries in it belong on the connection given."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_SHARE)
        yield connection
