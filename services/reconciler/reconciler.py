"""One small loop of repairs; each finds its own work and may safely run anywhere, often."""

import asyncio

import asyncpg

from services.reconciler.deadlines import end_overdue
from services.reconciler.ended import finish_ended
from services.reconciler.forgetting import forget_old
from services.reconciler.orphans import remove_orphans
from services.reconciler.publications import keep_published
from services.reconciler.retention import keep_tidy
from services.reconciler.rollbacks import settle_rollbacks
from services.reconciler.streams import restore_streams
from services.reconciler.unshown import show_over
from services.reconciler.upkeep import forget_keys
from services.reconciler.vanished import reissue_vanished
from shared.outage import AWAY
from shared.resources import Resources
from shared.service import Service, sleep_or_stop
from shared.telemetry import log

TICK_SECONDS = 10.0
REPAIRS = (
    restore_streams,
    end_overdue,
    finish_ended,
    reissue_vanished,
    show_over,
    remove_orphans,
    settle_rollbacks,
    forget_keys,
)


def create(resources: Resources) -> Service:
    """Make the service."""
    return Reconciler(resources)


class Reconciler:
    """Runs every repair at every tick; what one could not mend the next tick tries again."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def run(self, stopping: asyncio.Event) -> None:
        """Repair until `stopping` is set, publish what is astray, remove what is old; none waits for another."""
        others = (keep_published, forget_old, keep_tidy)
        await asyncio.gather(self._repair(stopping), *(keep(self._resources, stopping) for keep in others))

    async def _repair(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            for repair in REPAIRS:
                try:
                    repaired = await repair(self._resources)
                    if repaired:
                        log.warning("repaired", repair=repair.__name__, what=repaired)
                        await self._resources.deployments.count_repairs(repair.__name__, len(repaired))
                except (*AWAY, asyncpg.PostgresError) as error:
                    log.warning("repair postponed", repair=repair.__name__, error=repr(error))
            await sleep_or_stop(stopping, TICK_SECONDS)
