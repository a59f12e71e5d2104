"""`zepid domains`: custom domains of a project."""

from typing import Annotated

import typer

from services.cli.options import Json, Project, Token, Url

Hostname = Annotated[str, typer.Argument(metavar="DOMAIN", help="Its full name, such as shop.example.com.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    domains = typer.Typer(help="Custom domains: added, proved by a DNS record, served.", no_args_is_help=True)
    domains.command("ls", epilog="Example: zepid domains ls")(list_)
    domains.command(epilog="Example: zepid domains add shop.example.com")(add)
    domains.command(epilog="Example: zepid domains verify shop.example.com")(verify)
    domains.command(epilog="Example: zepid domains rm shop.example.com")(rm)
    app.add_typer(domains, name="domains")


def list_(project: Project = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """List a project's domains and where each stands."""
    from services.cli.domain_views import list_domains
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: list_domains(client, project, as_json=as_json))


def add(domain: Hostname, project: Project = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Ask for a domain, and print the DNS records to make."""
    from services.cli.domain_views import add_domain
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: add_domain(client, project, domain, as_json=as_json))


def verify(
    domain: Hostname, project: Project = None, as_json: Json = False, url: Url = None, token: Token = None
) -> None:
    """Have a domain looked at now.

    Exit code: 1 when it is not served yet.
    """
    from services.cli.domain_views import verify_domain
    from services.cli.errors import FAILED
    from services.cli.session import run_with_client

    if not run_with_client(url, token, lambda client: verify_domain(client, project, domain, as_json=as_json)):
        raise typer.Exit(FAILED)


def rm(domain: Hostname, project: Project = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Stop serving a domain."""
    from services.cli.domain_views import remove_domain
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: remove_domain(client, project, domain, as_json=as_json))
