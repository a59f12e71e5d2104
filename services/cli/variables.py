"""What `zepid env` reads and asks the server, and how it shows the answers."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from dotenv import dotenv_values

from services.cli.choice import project_here
from services.cli.errors import CommandError
from services.cli.render import print_json, print_table
from shared.client import Client
from shared.client.env import Variable


def values_from(name: str | None, file: Path | None) -> dict[str, str]:
    """Return the values to set: one from the prompt, stdin or a file, or all of a `.env` file.

    Raises:
        CommandError: the file cannot be read.
    """
    try:
        if name is None:
            assert file is not None
            with file.open(encoding="utf-8") as text:
                return {key: value or "" for key, value in dotenv_values(stream=text, interpolate=False).items()}
        if file is not None:
            return {name: file.read_text(encoding="utf-8")}
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
    if sys.stdin.isatty():
        return {name: typer.prompt(f"Value of {name}", hide_input=True, default="", show_default=False, err=True)}
    return {name: sys.stdin.read().removesuffix("\n")}


async def list_variables(client: Client, project_id: str | None, *, as_json: bool) -> None:
    """Print which variables are set."""
    _show(await client.env.list(await project_here(client, project_id)), as_json=as_json)


async def set_variables(
    client: Client, project_id: str | None, values: Mapping[str, str], *, replace: bool, as_json: bool
) -> None:
    """Set variables; with `replace` all others are removed."""
    chosen = await project_here(client, project_id)
    change = client.env.replace if replace else client.env.set
    _show(await change(chosen, dict(values)), as_json=as_json)


async def remove_variables(client: Client, project_id: str | None, names: Sequence[str], *, as_json: bool) -> None:
    """Remove variables that are set."""
    chosen = await project_here(client, project_id)
    left: tuple[Variable, ...] = ()
    for name in names:
        left = await client.env.remove(chosen, name)
    _show(left, as_json=as_json)


def _show(variables: Sequence[Variable], *, as_json: bool) -> None:
    if as_json:
        print_json(*variables)
    elif variables:
        print_table(("Variable", "Set"), [(variable.name, variable.updated_at) for variable in variables])
    else:
        typer.echo("No variables. Set one: zepid env set NAME")
