"""Custom domains of projects."""

import secrets

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries
from shared.contracts.errors import ZepidError
from shared.domains.states import Next

MOST_DOMAINS = 50
"""Of one project."""
_LEASE_SECONDS = 60.0


class TxtRecord(msgspec.Struct, frozen=True):
    """A TXT record that the owner of a domain has to set."""

    name: str
    value: str


class OnCloudflare(msgspec.Struct, frozen=True):
    """A domain as Cloudflare has it: pending, verified, active or failed; the records that it waits for."""

    state: str
    records: list[TxtRecord]


class DomainRow(msgspec.Struct, frozen=True):
    """A project's domain; moments in seconds since 1970.

    Attributes:
        state: pending, verified, active or failed.
        token: what the TXT record has to hold.
        fault: what was missing at the last check, in words; "" for nothing.
        tries: checks in this state that missed something.
        asked_seconds: since when ownership is looked for.
        checked_seconds: since the last check, None before the first.
        site: the project's site, the first label of its own address.
        target: where the project is served.
        cloudflare: what Cloudflare makes of it, None where it was not asked.
    """

    hostname: str
    project_id: str
    state: str
    token: str
    fault: str
    tries: int
    asked_seconds: float
    checked_seconds: float | None
    next_try_at: float | None
    created_at: float
    verified_at: float | None
    site: str
    target: str
    cloudflare: OnCloudflare | None


class Domains:
    """The table `domain`; every change is told to the edge and shown in the platform's `project` row."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries("domains")

    async def claim(self, hostname: str, project_id: str, organization_id: str) -> DomainRow:
        """Return the project's domain of this name, made pending if it has none; asking again changes nothing.

        Args:
            hostname: as `custom_hostname` returns it.
            project_id: the project that is to be served there.
            organization_id: the project's.

        Raises:
            ZepidError: DOMAIN_TAKEN, another project has proved to own it; DOMAIN_INVALID, there are too many.
        """
        verdict = await self._sql.claim(
            self._pool,
            hostname=hostname,
            project_id=project_id,
            organization_id=organization_id,
            token=f"zepid-{secrets.token_hex(16)}",
            most=MOST_DOMAINS,
        )
        if verdict == "taken":
            raise ZepidError("DOMAIN_TAKEN", f"{hostname} belongs to another project, which has proved to own it")
        if verdict == "too_many":
            raise ZepidError("DOMAIN_INVALID", f"A project may have {MOST_DOMAINS} domains")
        return await self.find(hostname, project_id)

    async def find(self, hostname: str, project_id: str) -> DomainRow:
        """Return a project's domain; raises NOT_FOUND."""
        row = await self._sql.find(self._pool, hostname=hostname, project_id=project_id)
        if row is None:
            raise ZepidError("NOT_FOUND", f"The project has no domain {hostname}")
        return msgspec.convert(dict(row), DomainRow)

    async def of_project(self, project_id: str) -> list[DomainRow]:
        """Return a project's domains, oldest first."""
        rows = self._sql.of_project(self._pool, project_id=project_id)
        return msgspec.convert([dict(row) async for row in rows], list[DomainRow])

    async def take_due(self, limit: int) -> list[DomainRow]:
        """Return domains whose check is due; nobody else gets them for a minute."""
        rows = self._sql.take_due(self._pool, limit=limit, lease_seconds=_LEASE_SECONDS)
        return msgspec.convert([dict(row) async for row in rows], list[DomainRow])

    async def take_unwanted(self, limit: int) -> list[str]:
        """Return names that Cloudflare has to forget; nobody else gets them for a minute."""
        rows = self._sql.take_unwanted(self._pool, limit=limit, lease_seconds=_LEASE_SECONDS)
        return [row["hostname"] async for row in rows]

    async def hasten(self) -> None:
        """Make the check of domains due whose project has moved to Cloudflare."""
        await self._sql.hasten(self._pool, lease_seconds=_LEASE_SECONDS)

    async def settle(self, domain: DomainRow, becomes: Next) -> None:
        """Write what a check found, unless somebody else has done so since `domain` was read."""
        await self._sql.settle(
            self._pool,
            hostname=domain.hostname,
            project_id=domain.project_id,
            tries_before=domain.tries,
            state=becomes.state,
            fault=becomes.fault,
            tries=becomes.tries,
            seconds=becomes.seconds,
        )

    async def ask_again(self, hostname: str, project_id: str) -> None:
        """Look again at a domain that was given up; nothing for any other."""
        await self._sql.ask_again(self._pool, hostname=hostname, project_id=project_id)

    async def remove(self, hostname: str, project_id: str) -> bool:
        """Free a domain at once; False if there is none."""
        return bool(await self._sql.remove(self._pool, hostname=hostname, project_id=project_id))
