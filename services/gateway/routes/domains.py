"""Custom domains of a project: asked for, proved by a DNS record, then served."""

from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath

from services.gateway.auth import DEPLOY, READ
from services.gateway.errors import error_responses
from services.gateway.lookup import visible_project
from services.gateway.ports import GatewayRequest
from shared.adapters.postgres.domains import DomainRow, OnCloudflare
from shared.adapters.publishers.addresses import Addresses
from shared.contracts.errors import ZepidError
from shared.domains import CHALLENGE
from shared.domains.hostnames import custom_hostname
from shared.settings import Settings
from shared.times import iso_time

_TAGS = ["Domains"]
_EXAMPLE = Example(summary="A subdomain", value={"hostname": "shop.example.com"})
_CALM_SECONDS = 2.0
"""A domain is not looked at more often, however often it is asked."""


class NewDomain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A domain to serve the project's site at; international names are taken in either form."""

    hostname: str


class DnsRecord(msgspec.Struct, frozen=True):
    """A record to be made where the domain's DNS is kept."""

    type: str
    name: str
    value: str


class CloudflareBody(msgspec.Struct, frozen=True):
    """A domain as Cloudflare has it: pending, verified, active or failed; `records` are what it waits for."""

    state: str
    records: list[DnsRecord]


class DomainBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A custom domain.

    Attributes:
        state: `pending` until the record of `verification` is seen, `verified` once it is: served from then on;
            `active` when the domain was seen leading to the site, or Cloudflare serves it there; `failed` when it
            was given up.
        fault: what was missing at the last check, in words.
        tries: checks in this state that missed something.
        next_try_at: when it is looked at again by itself.
        url: where the site answers under this domain.
        verification: the record that proves ownership.
        routing: a record that leads the domain to the site; an address record does as well.
        cloudflare: where the project is served on Cloudflare: what it makes of the domain once that is verified.
    """

    hostname: str
    state: str
    fault: str | None
    tries: int
    next_try_at: str | None
    created_at: str
    verified_at: str | None
    url: str
    verification: DnsRecord
    routing: DnsRecord
    cloudflare: CloudflareBody | None


class DomainList(msgspec.Struct, frozen=True):
    """A project's domains, oldest first."""

    domains: list[DomainBody]


class RemovedDomain(msgspec.Struct, frozen=True):
    """A domain that is free again."""

    hostname: str
    success: bool = True


@get(
    "/projects/{project_id:str}/domains",
    opt=READ,
    tags=_TAGS,
    summary="List a project's domains",
    responses=error_responses(401, 403, 404, 503),
)
async def list_domains(request: GatewayRequest, project_id: FromPath[str]) -> DomainList:
    """Return the project's custom domains and where each stands."""
    project = await visible_project(request, project_id)
    rows = await request.ports.domains.of_project(project.id)
    return DomainList([_body(row, request.ports.settings) for row in rows])


@post(
    "/projects/{project_id:str}/domains",
    opt=DEPLOY,
    tags=_TAGS,
    summary="Add a domain",
    responses=error_responses(400, 401, 403, 404, 409, 503),
)
async def add_domain(
    request: GatewayRequest, project_id: FromPath[str], data: Annotated[NewDomain, Body(examples=[_EXAMPLE])]
) -> DomainBody:
    """Ask for a domain. The answer names the DNS record that proves it; adding it again changes nothing."""
    project = await visible_project(request, project_id)
    hostname = custom_hostname(data.hostname, request.ports.settings.edge_url)
    row = await request.ports.domains.claim(hostname, project.id, project.organization_id)
    return _body(row, request.ports.settings)


@get(
    "/projects/{project_id:str}/domains/{hostname:str}",
    opt=READ,
    tags=_TAGS,
    summary="Read a domain",
    responses=error_responses(401, 403, 404, 503),
)
async def read_domain(request: GatewayRequest, project_id: FromPath[str], hostname: FromPath[str]) -> DomainBody:
    """Return one domain and where it stands."""
    return _body(await _domain(request, project_id, hostname), request.ports.settings)


@post(
    "/projects/{project_id:str}/domains/{hostname:str}/verify",
    status_code=200,
    opt=DEPLOY,
    tags=_TAGS,
    summary="Check a domain now",
    responses=error_responses(401, 403, 404, 503),
)
async def verify_domain(request: GatewayRequest, project_id: FromPath[str], hostname: FromPath[str]) -> DomainBody:
    """Look at the domain now instead of at its next try; one that was given up is tried again."""
    domains = request.ports.domains
    row = await _domain(request, project_id, hostname)
    if row.state == "failed":
        await domains.ask_again(row.hostname, row.project_id)
        row = await domains.find(row.hostname, row.project_id)
    if row.checked_seconds is None or row.checked_seconds > _CALM_SECONDS:
        await domains.settle(row, await request.gateway.domain_checks.check(row))
        row = await domains.find(row.hostname, row.project_id)
    return _body(row, request.ports.settings)


@delete(
    "/projects/{project_id:str}/domains/{hostname:str}",
    status_code=200,
    opt=DEPLOY,
    tags=_TAGS,
    summary="Remove a domain",
    responses=error_responses(401, 403, 404, 503),
)
async def remove_domain(request: GatewayRequest, project_id: FromPath[str], hostname: FromPath[str]) -> RemovedDomain:
    """Stop serving the domain; any project may ask for it from now on."""
    row = await _domain(request, project_id, hostname)
    await request.ports.domains.remove(row.hostname, row.project_id)
    return RemovedDomain(row.hostname)


async def _domain(request: GatewayRequest, project_id: str, hostname: str) -> DomainRow:
    project = await visible_project(request, project_id)
    try:
        name = custom_hostname(hostname, request.ports.settings.edge_url)
    except ZepidError:
        raise ZepidError("NOT_FOUND", "The project has no such domain") from None
    return await request.ports.domains.find(name, project.id)


def _body(row: DomainRow, settings: Settings) -> DomainBody:
    addresses = Addresses(settings.pattern_of(row.target))
    return DomainBody(
        hostname=row.hostname,
        state=row.state,
        fault=row.fault or None,
        tries=row.tries,
        next_try_at=iso_time(row.next_try_at) if row.next_try_at else None,
        created_at=iso_time(row.created_at),
        verified_at=iso_time(row.verified_at) if row.verified_at else None,
        url=addresses.of_domain(row.hostname),
        verification=DnsRecord("TXT", CHALLENGE + row.hostname, row.token),
        routing=DnsRecord("CNAME", row.hostname, addresses.host_of_site(row.site)),
        cloudflare=_on_cloudflare(row.cloudflare) if row.cloudflare else None,
    )


def _on_cloudflare(found: OnCloudflare) -> CloudflareBody:
    return CloudflareBody(found.state, [DnsRecord("TXT", record.name, record.value) for record in found.records])


HANDLERS = [list_domains, add_domain, read_domain, verify_domain, remove_domain]
