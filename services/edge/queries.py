"""The questions that the edge asks the database."""

from typing import Any

import asyncpg

from shared.adapters.postgres.database import DATABASE_FAILED
from shared.contracts.errors import ZepidError
from shared.sealing import Seal

ANSWER_SECONDS = 2.0
POINTER = """
  select s.name, s.release_id, array(
    select r.id from release r
    where r.project_id = s.project_id and r.id is distinct from s.release_id
      and r.replaced_at > now() - make_interval(secs => $2)
    order by r.replaced_at desc limit 100) as earlier
  from site s where s.name = $1
    or s.project_id = (select project_id from domain where hostname = $1 and state in ('verified', 'active'))"""
RELEASE = """
  select r.site, r.organization_id, r.manifest from release r left join deployment d on d.id = r.deployment_id
  where r.id = $1 and d.expired_at is null"""
VARIABLES = "select d.variables from release r join deployment d on d.id = r.deployment_id where r.id = $1"


async def fetch(pool: asyncpg.Pool, question: str, *values: object) -> Any | None:
    """Return the one row, or None.

    Raises:
        ZepidError: SERVICE_UNAVAILABLE, the database did not answer in time.
    """
    try:
        async with pool.acquire(timeout=ANSWER_SECONDS) as connection:
            return await connection.fetchrow(question, *values, timeout=ANSWER_SECONDS)
    except DATABASE_FAILED as error:
        raise ZepidError("SERVICE_UNAVAILABLE", "the database of sites and releases does not answer") from error


async def variables_of(pool: asyncpg.Pool, seal: Seal, release_id: str) -> dict[str, str]:
    """Return the environment frozen with a release; raises like `fetch` and `Seal.open`."""
    row = await fetch(pool, VARIABLES, release_id)
    return seal.open_each(row["variables"]) if row else {}
