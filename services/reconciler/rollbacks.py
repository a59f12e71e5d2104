"""Settles rollbacks whose gateway died between moving the pointer and seeing the release live."""

from shared.adapters.postgres.releases import Releases
from shared.contracts.errors import ZepidError
from shared.resources import Resources
from shared.rollback import see_through
from shared.telemetry import log

ABANDONED_SECONDS = 60.0
"""A gateway that lives has settled its rollback by then."""


async def settle_rollbacks(resources: Resources) -> list[str]:
    """Confirm what is live and put back what is not; return the ids."""
    releases, places = Releases(resources.pool), resources.publishers()
    rollbacks = await releases.unsettled(ABANDONED_SECONDS)
    for rollback in rollbacks:
        try:
            await see_through(releases, places, rollback)
        except ZepidError as error:
            log.warning("an abandoned rollback did not hold", rollback=rollback.id, error=error.message)
    return [rollback.id for rollback in rollbacks]
