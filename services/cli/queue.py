"""`zepid queue`, `zepid pause`, `zepid resume`: what waits, and the switch that stops admission."""

from typing import Annotated

import typer

from services.cli.options import Json, Token, Url

Organization = Annotated[
    str | None,
    typer.Option("--org", metavar="ID", help="This organisation's. [default: the token's; everyone's if it has none]"),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: zepid queue")(queue)
    app.command(epilog="Example: zepid pause --org acme")(pause)
    app.command(epilog="Example: zepid resume --org acme")(resume)


def queue(as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show each actor's backlog, what runs and who waits."""
    from services.cli.queue_view import show_queue
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: show_queue(client, as_json=as_json))


def pause(org: Organization = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Let no more deployments start; what runs goes on, and what comes waits."""
    from services.cli.queue_view import change_pause
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: change_pause(client, client.pause, org, as_json=as_json))


def resume(org: Organization = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Let deployments start again. The pauses of everyone and of organisations end separately."""
    from services.cli.queue_view import change_pause
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: change_pause(client, client.resume, org, as_json=as_json))
