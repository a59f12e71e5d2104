"""The two questions that the edge asks the database."""

from typing import Any

import asyncpg

from shared.adapters.postgres.database import DATABASE_AWAY
from shared.contracts.errors import ZepidError

ANSWER_SECONDS = 2.0
POINTER = """
  select s.release_id, array(
    select r.id from release r
    where r.project_id = s.project_id and r.id is distinct from s.release_id
    order by r.created_at desc limit 3) as earlier
  from site s where s.name = $1"""
RELEASE = "select site, manifest from release where id = $1"

DATABASE_FAILED = (*DATABASE_AWAY, asyncpg.PostgresError)
"""What asyncpg raises when there is no answer; time running out is an OSError among them."""


async def fetch(pool: asyncpg.Pool, question: str, key: str) -> Any | None:
    """Return the one row, or None.

    Raises:
        ZepidError: SERVICE_UNAVAILABLE, the database did not answer in time.
    """
    try:
        async with pool.acquire(timeout=ANSWER_SECONDS) as connection:
            return await connection.fetchrow(question, key, timeout=ANSWER_SECONDS)
    except DATABASE_FAILED as error:
        raise ZepidError("SERVICE_UNAVAILABLE", "the database of sites and releases does not answer") from error
