"""What keeps blobs from being removed under whoever is about to need them.

Collection removes what no row refers to, a few blobs at a time, while it alone holds this lock. Whoever makes a row
that refers to blobs makes sure afterwards, holding it with others, that they are there: either the row was seen by
the collection, or the loss is seen here.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from shared.contracts.errors import ZepidError

_LOCK = "zepid.collection"
_RUNNING = "zepid.collection.running"
_PATIENCE_SECONDS = 20.0
_AGAIN_SECONDS = 0.005
_SHARE = f"select pg_advisory_xact_lock_shared(hashtext('{_LOCK}'))"
_TRY = f"select pg_try_advisory_lock(hashtext('{_LOCK}'))"
_UNLOCK = f"select pg_advisory_unlock(hashtext('{_LOCK}'))"
_BEGIN = f"select pg_try_advisory_lock(hashtext('{_RUNNING}'))"
_END = f"select pg_advisory_unlock(hashtext('{_RUNNING}'))"


@asynccontextmanager
async def keeping_blobs(pool: asyncpg.Pool) -> AsyncIterator[PoolConnectionProxy]:
    """Let no blob be removed for the length of a block; queries in it belong on the connection given."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_SHARE)
        yield connection


@asynccontextmanager
async def only_collection(pool: asyncpg.Pool) -> AsyncIterator[PoolConnectionProxy]:
    """Be the one collection that runs anywhere, for the length of a block.

    Raises:
        ZepidError: CLEANUP_RUNNING, another one is.
    """
    async with pool.acquire() as connection:
        if not await connection.fetchval(_BEGIN):
            raise ZepidError("CLEANUP_RUNNING", "Another cleanup runs already")
        try:
            yield connection
        finally:
            await connection.execute(_END)


@asynccontextmanager
async def removing_blobs(connection: PoolConnectionProxy) -> AsyncIterator[None]:
    """Be alone with the blobs for the length of a block, which should be short.

    It does not queue up for that: whoever wants to keep blobs would have to wait behind it.

    Raises:
        ZepidError: SERVICE_UNAVAILABLE, others did not leave a gap for long.
    """
    given_up_at = time.monotonic() + _PATIENCE_SECONDS
    while not await connection.fetchval(_TRY):
        if time.monotonic() > given_up_at:
            raise ZepidError("SERVICE_UNAVAILABLE", "The files are in use without a pause; try again later")
        await asyncio.sleep(_AGAIN_SECONDS)
    try:
        yield
    finally:
        await connection.execute(_UNLOCK)
