"""`zepid login`, `zepid token` and `zepid audit`: who may do what, and who did."""

from typing import Annotated

import typer

from services.cli.options import Json, Token, Url

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key; `zepid token ls` shows it.")]
Organization = Annotated[str | None, typer.Option("--org", metavar="ID", help="The organisation.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    token = typer.Typer(help="API keys: make, list, rotate and revoke them.", no_args_is_help=True)
    token.command(epilog="Example: zepid token create CI --scope deploy --expires 90d")(create)
    token.command("ls", epilog="Example: zepid token ls --all")(list_)
    token.command(epilog="Example: zepid token rotate key_01… --overlap 1h")(rotate)
    token.command(epilog="Example: zepid token revoke key_01…")(revoke)
    app.add_typer(token, name="token")
    app.command(epilog="Example: zepid login https://deploy.example.com < token.txt")(login)
    app.command(epilog="Example: zepid audit --action 'POST /tokens'")(audit)


def login(
    server: Annotated[str | None, typer.Argument(metavar="[URL]", help="The server; by default the known one.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Remember a server and a token for all folders, once the server has recognised the token.

    The token is asked for, or read from standard input.
    """
    from services.cli.login import log_in
    from services.cli.session import run

    run(log_in(server or url, token, as_json=as_json))


def create(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="read|deploy|admin", help="What it may do; the greater includes the lesser."),
    ] = None,
    org: Organization = None,
    all_orgs: Annotated[bool, typer.Option("--all-orgs", help="For every organisation.")] = False,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="The user it acts as.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", metavar="TIME", help="When, such as 12h or 90d.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Make an API key and print its token, which can't be read again. Without --scope it may deploy."""
    from services.cli.keys import NewKey, create_key, seconds_in
    from services.cli.session import run_with_client

    lifetime = seconds_in(expires) if expires else None
    wanted = NewKey(name, tuple(scope or ("deploy",)), org, all_orgs, user, lifetime)
    run_with_client(url, token, lambda client: create_key(client, wanted, as_json=as_json))


def list_(
    all_: Annotated[bool, typer.Option("--all", help="Revoked ones too.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List the API keys, newest first."""
    from services.cli.keys import list_keys
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: list_keys(client, revoked=all_, as_json=as_json))


def rotate(
    key: KeyId,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="TIME", help="How long the old token stays valid, such as 1h.")
    ] = "0s",
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Give a key a new token and print it; the old one ends at once, or after the overlap."""
    from services.cli.keys import rotate_key, seconds_in
    from services.cli.session import run_with_client

    seconds = seconds_in(overlap)
    run_with_client(url, token, lambda client: rotate_key(client, key, seconds, as_json=as_json))


def revoke(key: KeyId, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """End a key, for good."""
    from services.cli.keys import revoke_key
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: revoke_key(client, key, as_json=as_json))


def audit(
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this key or person did.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only what begins so, such as DELETE.")] = None,
    org: Organization = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many.")] = 50,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show who did what, newest first; refused requests too."""
    from services.cli.keys import show_audit
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: show_audit(client, actor, action, org, limit=limit, as_json=as_json))
