"""What `zepid projects` and `zepid link` ask the server, and how they show the answers."""

from pathlib import Path

import typer

from services.cli.choice import project_here
from services.cli.connection import Connection
from services.cli.errors import ProjectUnclear
from services.cli.memory import remember
from services.cli.render import print_json, print_table
from shared.client import Client
from shared.client.answers import Project

Settings = dict[str, str | None]

_SETTINGS = {
    "Root": "rootDirectory",
    "Install": "installCommand",
    "Build": "buildCommand",
    "Output": "outputDirectory",
    "Target": "target",
}


def settings_of(*values: str | None) -> Settings:
    """Return the settings that were given, in their order; an empty one is None: to be detected again."""
    given = zip(_SETTINGS.values(), values, strict=True)
    return {name: value or None for name, value in given if value is not None}


async def list_projects(client: Client, *, as_json: bool) -> None:
    """Print projects, newest first."""
    projects = [project async for project in client.projects()]
    if as_json:
        print_json(*projects)
    elif projects:
        rows = [
            (project.id, project.name, "" if project.is_active else "inactive", project.url) for project in projects
        ]
        print_table(("Project", "Name", "", "Address"), rows)
    else:
        typer.echo("No projects. Make one: zepid deploy DIR")


async def show_project(client: Client, project_id: str | None, *, as_json: bool) -> None:
    """Print all about a project; of its variables the names."""
    project = await client.project(await project_here(client, project_id))
    variables, domains = await client.env.list(project.id), await client.domains.list(project.id)
    if as_json:
        print_json({"project": project, "variables": variables, "domains": domains})
        return
    _print_project(project)
    typer.echo(f"Variables     {', '.join(variable.name for variable in variables) or 'none'}")
    typer.echo(f"Domains       {', '.join(f'{domain.hostname} ({domain.state})' for domain in domains) or 'none'}")


async def create_project(
    client: Client, connection: Connection, name: str, settings: Settings, *, as_json: bool
) -> None:
    """Make a project."""
    organization_id = (await client.whoami()).organization_id or connection.organization_id
    if not organization_id:
        raise ProjectUnclear("The token acts for every organisation. Say whose project to make: set ZEPID_ORG.")
    given = {key: value for key, value in settings.items() if value is not None}
    _show(await client.create_project(name, organization_id, given), as_json=as_json)


async def change_project(
    client: Client, project_id: str | None, name: str | None, active: bool | None, settings: Settings, *, as_json: bool
) -> None:
    """Change a project."""
    chosen = await project_here(client, project_id)
    _show(await client.change_project(chosen, name=name, is_active=active, settings=settings), as_json=as_json)


async def delete_project(client: Client, project_id: str, *, cancel: bool, as_json: bool) -> None:
    """Delete a project."""
    deleted = await client.delete_project(project_id, cancel=cancel)
    if as_json:
        print_json(deleted)
        return
    cancelled = f"; its deployment {deleted.cancelled_id} was cancelled" if deleted.cancelled_id else ""
    typer.echo(f"{project_id} deleted{cancelled}")


async def link_folder(client: Client, project_id: str, folder: Path, *, as_json: bool) -> None:
    """Remember the project of a folder, an absolute path, on this server."""
    project = await client.project(project_id)
    remember(client.base_url, folder, project.id)
    if as_json:
        print_json({"projectId": project.id, "folder": str(folder), "url": client.base_url})
    else:
        typer.echo(f"{folder} is linked to {project.name} ({project.id})")


def _show(project: Project, *, as_json: bool) -> None:
    if as_json:
        print_json(project)
    else:
        _print_project(project)


def _print_project(project: Project) -> None:
    state = "" if project.is_active else ", inactive"
    typer.echo(f"Project       {project.name} ({project.id}){state}")
    typer.echo(f"Address       {project.url}")
    for title, key in _SETTINGS.items():
        if value := project.settings.get(key):
            typer.echo(f"{title:<13} {value}")
