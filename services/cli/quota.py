"""`zepid quota`: how many deployments an organisation may still make."""

from typing import Annotated

import typer

from services.cli.options import Json, Token, Url

Organization = Annotated[
    str | None, typer.Option("--org", metavar="ID", help="This organisation's. [default: the token's]")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: zepid quota --org acme")(quota)


def quota(org: Organization = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show what the organisation's plans still allow, in the order in which they are used."""
    from services.cli.quota_view import show_quota
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: show_quota(client, org, as_json=as_json))
