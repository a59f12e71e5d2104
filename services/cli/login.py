"""What `zepid login` does: take a token, have the server recognise it, remember both."""

import sys

import msgspec
import typer

from services.cli.connection import Connection, find_connection, remember_connection
from services.cli.errors import NoConnection
from shared.client import Client


async def log_in(url: str | None, token: str | None, *, as_json: bool) -> None:
    """Remember a server with a token that it knows.

    Raises:
        NoConnection: no server or no token was given.
        ClientError: the server does not answer, or does not know the token.
    """
    server = url.rstrip("/") if url else find_connection(url).url
    given = token or _read_token()
    if not given:
        raise NoConnection("No token was given. Type it when asked, or pass it on standard input.")
    async with Client(server, given) as client:
        identity = await client.whoami()
    connection = Connection(
        url=server, token=given, organization_id=identity.organization_id or "", user_id=identity.user_id
    )
    path = remember_connection(connection)
    if as_json:
        typer.echo(msgspec.json.encode({"url": server, "identity": identity, "file": str(path)}).decode())
    else:
        whose = f"organisation {identity.organization_id}" if identity.organization_id else "every organisation"
        typer.echo(f"Logged in to {server} as {identity.user_id}, {whose}. Kept in {path}, readable by you alone.")
    if (used := find_connection().url) != server:
        typer.echo(f"Here {used} comes first: ZEPID_URL, or a .zepid folder here or above, names it.", err=True)


def _read_token() -> str:
    """Ask on a terminal without showing what is typed, else read standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Token", hide_input=True)).strip()
    return sys.stdin.read().strip()
