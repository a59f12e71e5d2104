"""A small loop: takes the domains whose check is due, looks at them, writes what becomes of them.

At times it also lets Cloudflare forget the names that it has no longer to serve.
"""

import asyncio
import time

import asyncpg

from shared.adapters.postgres.domains import DomainRow, Domains
from shared.domains.checks import Checks
from shared.domains.cloudflare import CloudflareDomains
from shared.outage import AWAY
from shared.resources import Resources
from shared.service import Service, sleep_or_stop
from shared.telemetry import log

TICK_SECONDS = 1.0
AT_ONCE = 20
FOLLOW_SECONDS = 10.0


def create(resources: Resources) -> Service:
    """Make the service."""
    settings = resources.settings
    return DomainChecks(Domains(resources.pool), Checks(settings), CloudflareDomains(settings))


class DomainChecks:
    """Checks due domains; may run many times over, since nobody takes what another has."""

    def __init__(self, domains: Domains, checks: Checks, cloudflare: CloudflareDomains) -> None:
        self._domains = domains
        self._checks = checks
        self._cloudflare = cloudflare
        self._followed_at = -FOLLOW_SECONDS

    async def run(self, stopping: asyncio.Event) -> None:
        """Check until `stopping` is set."""
        while not stopping.is_set():
            try:
                due = await self._domains.take_due(AT_ONCE)
                await asyncio.gather(*map(self._check, due))
                await self._follow()
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

    async def _follow(self) -> None:
        """Ask Cloudflare soon for what has moved there, and let it forget what it is not to serve."""
        if not self._cloudflare.is_set_up or time.monotonic() - self._followed_at < FOLLOW_SECONDS:
            return
        self._followed_at = time.monotonic()
        await self._domains.hasten()
        unwanted = await self._domains.take_unwanted(AT_ONCE)
        said = await asyncio.gather(*map(self._cloudflare.follow, unwanted))
        for hostname, words in zip(unwanted, said, strict=True):
            log.info("name at Cloudflare followed", domain=hostname, said=words)
