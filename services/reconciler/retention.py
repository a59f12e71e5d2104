"""Removes by itself what is no longer kept, once a day by default."""

import asyncio

import asyncpg
import msgspec

from shared.adapters.postgres.retention import claim_run
from shared.collection import Collector, rules_of
from shared.outage import AWAY
from shared.resources import Resources
from shared.service import sleep_or_stop
from shared.telemetry import log

_LOOK_SECONDS = 60.0


async def keep_tidy(resources: Resources, stopping: asyncio.Event) -> None:
    """Clean up whenever it is due, until `stopping` is set; of several reconcilers one does it."""
    settings = resources.settings
    collector = Collector(resources.pool, resources.artifacts, resources.logs)
    while settings.retention_interval and not stopping.is_set():
        try:
            if await claim_run(resources.pool, settings.retention_interval):
                removed = await collector.collect(rules_of(settings))
                log.info("cleaned up", **msgspec.to_builtins(removed))
        except (*AWAY, asyncpg.PostgresError) as error:
            log.warning("cleanup postponed", error=repr(error))
        await sleep_or_stop(stopping, min(_LOOK_SECONDS, settings.retention_interval))
