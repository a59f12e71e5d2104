"""Removes rows that are no longer kept, a few thousand at a time: of the audit log, and of what webhooks were sent."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from shared.adapters.postgres.audit import Audit
from shared.adapters.postgres.outbox import Outbox
from shared.adapters.postgres.retention import count_removed
from shared.outage import AWAY
from shared.resources import Resources
from shared.service import sleep_or_stop
from shared.telemetry import log

AT_ONCE = 5_000
_LOOK_SECONDS = 600.0
_DAY_SECONDS = 86_400.0

Remove = Callable[[float, int], Awaitable[int]]
"""Removes what is older than so many seconds, at most so many rows; returns how many that were."""


async def forget_old(resources: Resources, stopping: asyncio.Event) -> None:
    """Remove what is old every ten minutes, until `stopping` is set; several reconcilers may do it."""
    while not stopping.is_set():
        try:
            await remove_old(resources, stopping)
        except (*AWAY, asyncpg.PostgresError) as error:
            log.warning("removal of old rows postponed", error=repr(error))
        await sleep_or_stop(stopping, _LOOK_SECONDS)


async def remove_old(resources: Resources, stopping: asyncio.Event) -> None:
    """Remove all that is old, and count it."""
    pool, settings = resources.pool, resources.settings
    kept_days: tuple[tuple[str, Remove, int], ...] = (
        ("audit", Audit(pool).remove_old, settings.audit_kept_days),
        ("webhook_deliveries", Outbox(pool).remove_old, settings.webhook_delivery_kept_days),
    )
    for name, remove, days in kept_days:
        removed = AT_ONCE
        while removed == AT_ONCE and not stopping.is_set():
            removed = await remove(days * _DAY_SECONDS, AT_ONCE)
            if removed:
                await count_removed(pool, name, removed)
                log.info("old rows removed", what=name, rows=removed)
