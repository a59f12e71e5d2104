"""A project's custom domains."""

from urllib.parse import quote

from shared.client.answers import Answer
from shared.client.transport import Transport


class DnsRecord(Answer, frozen=True):
    """A record to be made where the domain's DNS is kept."""

    type: str
    name: str
    value: str


class OnCloudflare(Answer, frozen=True):
    """A domain as Cloudflare has it; `records` are what it waits for."""

    state: str
    records: tuple[DnsRecord, ...]


class Domain(Answer, frozen=True):
    """A domain: pending, verified, active or failed; `fault` says what is missing."""

    hostname: str
    state: str
    url: str
    verification: DnsRecord
    routing: DnsRecord
    fault: str | None = None
    tries: int = 0
    next_try_at: str | None = None
    created_at: str = ""
    verified_at: str | None = None
    cloudflare: OnCloudflare | None = None


class RemovedDomain(Answer, frozen=True):
    """A domain that is free again."""

    hostname: str


class _Domains(Answer, frozen=True):
    domains: tuple[Domain, ...]


class Domains:
    """`client.domains`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, project_id: str) -> tuple[Domain, ...]:
        """Return a project's domains, oldest first."""
        return (await self._transport.ask("GET", _path(project_id), _Domains)).domains

    async def add(self, project_id: str, hostname: str) -> Domain:
        """Ask for a domain; the answer names the DNS record that proves it. Adding it again changes nothing."""
        return await self._transport.ask("POST", _path(project_id), Domain, json={"hostname": hostname})

    async def get(self, project_id: str, hostname: str) -> Domain:
        """Return one domain."""
        return await self._transport.ask("GET", _path(project_id, hostname), Domain)

    async def verify(self, project_id: str, hostname: str) -> Domain:
        """Have the service look at a domain now, and return what became of it."""
        return await self._transport.ask("POST", f"{_path(project_id, hostname)}/verify", Domain)

    async def remove(self, project_id: str, hostname: str) -> RemovedDomain:
        """Stop serving a domain."""
        return await self._transport.ask("DELETE", _path(project_id, hostname), RemovedDomain)


def _path(project_id: str, hostname: str = "") -> str:
    path = f"/projects/{quote(project_id, safe='')}/domains"
    return f"{path}/{quote(hostname, safe='')}" if hostname else path
