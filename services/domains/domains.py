"""A small loop: takes the domains whose check is due, looks at them, writes what becomes of them."""

import asyncio

import asyncpg

from shared.adapters.postgres.domains import DomainRow, Domains
from shared.domains.checks import Checks
from shared.outage import AWAY
from shared.resources import Resources
from shared.service import Service, sleep_or_stop
from shared.telemetry import log

TICK_SECONDS = 1.0
AT_ONCE = 20


def create(resources: Resources) -> Service:
    """Make the service."""
    return DomainChecks(Domains(resources.pool), Checks(resources.settings))


class DomainChecks:
    """Checks due domains; may run many times over, since nobody takes what another has."""

    def __init__(self, domains: Domains, checks: Checks) -> None:
        self._domains = domains
        self._checks = checks

    async def run(self, stopping: asyncio.Event) -> None:
        """Check until `stopping` is set."""
        while not stopping.is_set():
            try:
                due = await self._domains.take_due(AT_ONCE)
                await asyncio.gather(*map(self._check, due))
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("domain checks postponed", error=repr(error))
                due = []
            if len(due) < AT_ONCE:
                await sleep_or_stop(stopping, TICK_SECONDS)

    async def _check(self, domain: DomainRow) -> None:
        becomes = await self._checks.check(domain)
        await self._domains.settle(domain, becomes)
        if becomes.state != domain.state:
            log.info("domain changed", domain=domain.hostname, was=domain.state, state=becomes.state)
