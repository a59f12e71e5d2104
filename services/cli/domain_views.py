"""What `zepid domains` asks the server, and how it shows the answers."""

import typer

from services.cli.choice import project_here
from services.cli.render import print_json, print_table
from shared.client import Client
from shared.client.domains import Domain

_SERVED = ("verified", "active")


async def list_domains(client: Client, project_id: str | None, *, as_json: bool) -> None:
    """Print a project's domains."""
    domains = await client.domains.list(await project_here(client, project_id))
    if as_json:
        print_json(*domains)
    elif domains:
        rows = [(domain.hostname, domain.state, domain.next_try_at or "", domain.fault or "") for domain in domains]
        print_table(("Domain", "State", "Next look", "Missing"), rows)
    else:
        typer.echo("No domains. Add one: zepid domains add shop.example.com")


async def add_domain(client: Client, project_id: str | None, hostname: str, *, as_json: bool) -> None:
    """Ask for a domain and print what to do."""
    _show(await client.domains.add(await project_here(client, project_id), hostname), as_json=as_json)


async def verify_domain(client: Client, project_id: str | None, hostname: str, *, as_json: bool) -> bool:
    """Have a domain looked at, and return whether it is served."""
    domain = await client.domains.verify(await project_here(client, project_id), hostname)
    _show(domain, as_json=as_json)
    return domain.state in _SERVED


async def remove_domain(client: Client, project_id: str | None, hostname: str, *, as_json: bool) -> None:
    """Stop serving a domain."""
    removed = await client.domains.remove(await project_here(client, project_id), hostname)
    if as_json:
        print_json(removed)
    else:
        typer.echo(f"{removed.hostname} removed")


def _show(domain: Domain, *, as_json: bool) -> None:
    if as_json:
        print_json(domain)
        return
    typer.echo(f"{domain.hostname} is {domain.state}{f': {domain.fault}' if domain.fault else ''}")
    if domain.state in _SERVED:
        typer.echo(f"It is served at {domain.url}")
    if domain.state != "active":
        asked = domain.cloudflare.records if domain.cloudflare else ()
        records = [(it.type, it.name, it.value) for it in (domain.verification, domain.routing, *asked)]
        print_table(("Record", "Name", "Value"), records)
    if domain.state == "pending":
        typer.echo(f"Make these records, then: zepid domains verify {domain.hostname}")
