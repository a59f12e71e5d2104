"""`zepid env`: the variables that builds see."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import Json, Project, Token, Url


def register(app: typer.Typer) -> None:
    """Add the commands."""
    env = typer.Typer(help="Environment variables for builds; values can be set, never read.", no_args_is_help=True)
    env.command("ls", epilog="Example: zepid env ls --project my-shop-x1y2z3")(list_)
    env.command("set", epilog="Example: zepid env set API_KEY < key.txt; zepid env set --file .env")(set_)
    env.command(epilog="Example: zepid env rm API_KEY")(rm)
    app.add_typer(env, name="env")


def list_(project: Project = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """List which variables are set, without their values."""
    from services.cli.session import run_with_client
    from services.cli.variables import list_variables

    run_with_client(url, token, lambda client: list_variables(client, project, as_json=as_json))


def set_(
    name: Annotated[
        str | None, typer.Argument(help="The variable; its value is asked for, or read from stdin.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Set all of a .env file, or NAME to a file's text.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Remove all that the .env file does not name.")] = False,
    project: Project = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Set variables; the next deployment sees them.

    A value is never taken from the command line, which others on the machine can see.
    """
    from services.cli.session import run_with_client
    from services.cli.variables import set_variables, values_from

    if name is None and file is None:
        raise typer.BadParameter("name a variable, or a file of them with --file .env")
    if name is not None and "=" in name:
        raise typer.BadParameter("give only the name; the value is asked for, or read from stdin or --file")
    if replace and (name is not None or file is None):
        raise typer.BadParameter("--replace belongs to --file .env")
    run_with_client(
        url,
        token,
        lambda client: set_variables(client, project, values_from(name, file), replace=replace, as_json=as_json),
    )


def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The variables.")],
    project: Project = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Remove variables. Deployments that were accepted before keep them."""
    from services.cli.session import run_with_client
    from services.cli.variables import remove_variables

    run_with_client(url, token, lambda client: remove_variables(client, project, names, as_json=as_json))
