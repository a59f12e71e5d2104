"""`zepid projects` and `zepid link`."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import Json, Token, Url

OptionalProject = Annotated[
    str | None, typer.Argument(metavar="[PROJECT]", help="Its id. [default: the project of this folder]")
]
Name = Annotated[str | None, typer.Option("--name", help="A new name; id and address stay.")]
Root = Annotated[str | None, typer.Option("--root", metavar="DIR", help="Folder to work in.")]
Install = Annotated[str | None, typer.Option("--install", metavar="COMMAND", help="Installs dependencies.")]
Build = Annotated[str | None, typer.Option("--build", metavar="COMMAND", help="Builds.")]
Target = Annotated[str | None, typer.Option("--target", metavar="PLACE", help="Goes live on: local or cloudflare.")]
Output = Annotated[str | None, typer.Option("--output", metavar="DIR", help="Folder that the build writes to.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    projects = typer.Typer(help="Projects and how they are built.", no_args_is_help=True)
    projects.command("ls", epilog="Example: zepid projects ls")(list_)
    projects.command(epilog="Example: zepid projects show my-shop-x1y2z3")(show)
    projects.command(epilog="Example: zepid projects create 'My shop' --build 'npm run build:prod'")(create)
    projects.command("set", epilog="Example: zepid projects set my-shop-x1y2z3 --build '' --output out")(set_)
    projects.command(epilog="Example: zepid projects rm my-shop-x1y2z3")(rm)
    app.add_typer(projects, name="projects")
    app.command(epilog="Example: zepid link my-shop-x1y2z3 ./my-shop")(link)


def list_(as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """List projects, newest first."""
    from services.cli.project_views import list_projects
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: list_projects(client, as_json=as_json))


def show(project: OptionalProject = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show a project, its settings, variables and domains."""
    from services.cli.project_views import show_project
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: show_project(client, project, as_json=as_json))


def create(
    name: Annotated[str, typer.Argument(help="Its name; id and address are made of it.")],
    root: Root = None,
    install: Install = None,
    build: Build = None,
    output: Output = None,
    target: Target = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Make a project; `zepid deploy` does it by itself for a new folder."""
    from services.cli.project_views import create_project, settings_of
    from services.cli.session import run_with_connection

    settings = settings_of(root, install, build, output, target)
    run_with_connection(
        url, token, lambda client, connection: create_project(client, connection, name, settings, as_json=as_json)
    )


def set_(
    project: OptionalProject = None,
    name: Name = None,
    root: Root = None,
    install: Install = None,
    build: Build = None,
    output: Output = None,
    target: Target = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Whether it takes deployments.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Change a project; an empty setting ('') has it detected again."""
    from services.cli.project_views import change_project, settings_of
    from services.cli.session import run_with_client

    settings = settings_of(root, install, build, output, target)
    if name is None and active is None and not settings:
        raise typer.BadParameter("say what to change: zepid projects set --help shows the options")
    run_with_client(url, token, lambda client: change_project(client, project, name, active, settings, as_json=as_json))


def rm(
    project: Annotated[str, typer.Argument(help="Its id.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel a deployment that is in the way.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Delete a project: its site goes away, its domains are free, its variables are gone."""
    from services.cli.project_views import delete_project
    from services.cli.session import run_with_client

    if not yes:
        typer.confirm(f"Delete {project} and stop serving its site?", abort=True, err=True)
    run_with_client(url, token, lambda client: delete_project(client, project, cancel=cancel, as_json=as_json))


def link(
    project: Annotated[str, typer.Argument(help="Its id; `zepid projects ls` shows it.")],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder.", exists=True, file_okay=False, resolve_path=True)
    ] = Path(),
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Remember a folder's project: `zepid deploy` and the commands about projects mean it there from now on."""
    from services.cli.project_views import link_folder
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: link_folder(client, project, folder, as_json=as_json))
