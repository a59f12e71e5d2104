"""`zepid errors`: what failed inside, with stack traces."""

from typing import Annotated

import typer

from services.cli.options import Json, Token, Url

Deployment = Annotated[str, typer.Argument(metavar="ID", help="The deployment, such as deploy_01k….")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: zepid errors deploy_01k…")(errors)


def errors(deployment: Deployment, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Print every failed attempt of a deployment with its stack trace; for operators, needs an admin token."""
    from services.cli.failures_view import show_failures
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: show_failures(client, deployment, as_json=as_json))
