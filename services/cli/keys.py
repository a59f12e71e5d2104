"""What `zepid token` and `zepid audit` ask the server, and how they show the answers."""

import re
import time
from typing import Any, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from services.cli.render import printable
from shared.client import Client
from shared.client.tokens import NewSecret
from shared.times import iso_time

_ENDLESS = 1000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class NewKey(NamedTuple):
    """A key to make; `lifetime` in seconds."""

    name: str
    scopes: tuple[str, ...]
    organization_id: str | None
    all_organizations: bool
    user_id: str | None
    lifetime: int | None


def seconds_in(duration: str) -> int:
    """Return the seconds in a duration such as `30s`, `15m`, `12h` or `90d`.

    Raises:
        typer.BadParameter: it is none.
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", duration.strip())
    if not found:
        raise typer.BadParameter(f"{duration!r} is no duration; write it like 30s, 15m, 12h or 90d")
    return int(found[1]) * _UNITS[found[2]]


async def create_key(client: Client, wanted: NewKey, *, as_json: bool) -> None:
    """Make a key and show its token."""
    made = await client.tokens.create(
        wanted.name,
        wanted.scopes,
        organization_id=wanted.organization_id,
        all_organizations=wanted.all_organizations,
        user_id=wanted.user_id,
        expires_at=iso_time(time.time() + wanted.lifetime) if wanted.lifetime else None,
    )
    _show_secret(made, as_json=as_json)


async def rotate_key(client: Client, key_id: str, overlap_seconds: int, *, as_json: bool) -> None:
    """Give a key a new token and show it."""
    _show_secret(await client.tokens.rotate(key_id, overlap_seconds), as_json=as_json)


async def revoke_key(client: Client, key_id: str, *, as_json: bool) -> None:
    """End a key."""
    key = await client.tokens.revoke(key_id)
    typer.echo(_json(key) if as_json else f"{key.id} ({printable(key.name)}) revoked")


async def list_keys(client: Client, *, revoked: bool, as_json: bool) -> None:
    """Print the keys."""
    table = _table("Id", "Name", "Token", "Scopes", "Organisation", "Status", "Expires", "Last used")
    async for key in client.tokens.list(revoked=revoked):
        if as_json:
            typer.echo(_json(key))
        table.add_row(
            key.id,
            printable(key.name),
            f"{key.prefix}…",
            " ".join(key.scopes),
            key.organization_id or "all",
            key.status,
            _moment(key.expires_at) or "never",
            _moment(key.last_used_at) or "never",
        )
    if not as_json:
        _print(table)


async def show_audit(
    client: Client, actor: str | None, action: str | None, organization_id: str | None, *, limit: int, as_json: bool
) -> None:
    """Print entries of the audit log."""
    page = await client.audit.page(actor=actor, action=action, organization_id=organization_id, limit=limit)
    table = _table("When", "Who", "User", "What", "Status", "About")
    for entry in page.entries:
        if as_json:
            typer.echo(_json(entry))
        about = " ".join(f"{name}={value}" for name, value in entry.subjects.items())
        table.add_row(
            _moment(entry.timestamp),
            printable(entry.actor),
            printable(entry.user_id),
            entry.action,
            str(entry.status),
            printable(about),
        )
    if not as_json:
        _print(table)
        if page.next_cursor:
            typer.echo(f"There are more than {limit}. See them: --limit, at most 200, or --actor, --action, --org")


def _show_secret(made: NewSecret, *, as_json: bool) -> None:
    """Print the token alone on standard output, so that it can be piped to where it is needed."""
    if as_json:
        typer.echo(_json(made))
        return
    old = f" The old token is valid until {_moment(made.token.previous_until)}." if made.token.previous_until else ""
    typer.echo(f"Key {made.token.id}. Keep its token safe; it is never shown again.{old}", err=True)
    typer.echo(made.secret)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def _print(table: Table) -> None:
    Console(highlight=False, width=_ENDLESS, markup=False).print(table)


def _moment(iso: str | None) -> str:
    return iso[:19].replace("T", " ") if iso else ""


def _json(answer: Any) -> str:
    return msgspec.json.encode(answer).decode()
