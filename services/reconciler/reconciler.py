"""One small loop of repairs; each finds its own work in SQL and may safely run anywhere, often."""

import asyncio

import asyncpg

from services.reconciler.deadlines import end_overdue
from services.reconciler.vanished import reissue_vanished
from shared.outage import AWAY
from shared.resources import Resources
from shared.service import Service, sleep_or_stop
from shared.telemetry import log

TICK_SECONDS = 10.0
REPAIRS = (end_overdue, reissue_vanished)


def create(resources: Resources) -> Service:
    """Make the service."""
    return Reconciler(resources)


class Reconciler:
    """Runs every repair at every tick; what one could not mend the next tick tries again."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def run(self, stopping: asyncio.Event) -> None:
        """Repair until `stopping` is set."""
        while not stopping.is_set():
            for repair in REPAIRS:
                try:
                    repaired = await repair(self._resources.deployments, self._resources.bus)
                except (*AWAY, asyncpg.PostgresError) as error:
                    log.warning("repair postponed", repair=repair.__name__, error=repr(error))
                else:
                    if repaired:
                        log.info("repaired", repair=repair.__name__, deployments=repaired)
            await sleep_or_stop(stopping, TICK_SECONDS)
