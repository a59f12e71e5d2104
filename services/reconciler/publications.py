"""Lets places that keep copies of sites follow the pointers where nobody else sees to it any more.

So the script of a deleted project goes, and of one that moved elsewhere, and what a failure left behind is put right.
"""

import asyncio
from collections.abc import Mapping

import asyncpg

from shared.adapters.postgres.publications import take_astray
from shared.contracts.errors import ZepidError
from shared.outage import AWAY
from shared.ports import Publisher
from shared.resources import Resources
from shared.service import sleep_or_stop
from shared.telemetry import log

QUIET_SECONDS = 180.0
"""Whoever moved a pointer or began to publish has finished by then, or will not; also between two tries."""
_LOOK_SECONDS = 15.0
_AT_ONCE = 5
_REPAIR = "follow_pointers"


async def keep_published(resources: Resources, stopping: asyncio.Event) -> None:
    """Publish again from the pointers until `stopping` is set; an upload delays no other repair."""
    places = resources.publishers()
    if places.keys() <= {"local"}:
        return
    while not stopping.is_set():
        try:
            if followed := await follow_pointers(resources.pool, places):
                log.warning("repaired", repair=_REPAIR, what=followed)
                await resources.deployments.count_repairs(_REPAIR, len(followed))
        except (*AWAY, asyncpg.PostgresError) as error:
            log.warning("repair postponed", repair=_REPAIR, error=repr(error))
        await sleep_or_stop(stopping, _LOOK_SECONDS)


async def follow_pointers(
    pool: asyncpg.Pool, places: Mapping[str, Publisher], quiet_seconds: float = QUIET_SECONDS
) -> list[str]:
    """Have each place serve what the pointer names, or nothing; return the sites where it does now."""
    remote = [target for target in places if target != "local"]
    astray = await take_astray(pool, remote, quiet_seconds=quiet_seconds, limit=_AT_ONCE)
    followed = []
    for site, target in astray:
        try:
            await places[target].publish(site, "")
        except ZepidError as error:
            log.warning("site not published; it is tried again", site=site, target=target, error=error.message)
        else:
            followed.append(site)
    return followed
