"""Which project a folder is deployed to."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from services.cli.errors import ProjectUnclear
from services.cli.memory import recall, remember
from shared.client import ApiError, Client
from shared.client.answers import Identity, Project

_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Choice:
    """What the caller says; by default the project the folder went to before, else a new one.

    Attributes:
        project_id: this project.
        name: the organisation's project of this name, made if there is none.
        organization_id: whose project, where the token acts for every organisation.
    """

    project_id: str | None = None
    name: str | None = None
    organization_id: str | None = None


async def choose_project(client: Client, folder: Path, choice: Choice, identity: Identity) -> tuple[Project, bool]:
    """Return the project, and whether it was made just now; the folder keeps to it from here on.

    Raises:
        ProjectUnclear: several projects have the name, or it is open whose project to make.
        ApiError: there is no such project, or it cannot be made.
    """
    organization_id = identity.organization_id or choice.organization_id
    project = await _existing(client, folder, choice, organization_id)
    chosen = project or await _new(client, choice.name or folder_name(folder), organization_id)
    remember(client.base_url, folder, chosen.id)
    return chosen, project is None


async def project_here(client: Client, project_id: str | None, folder: Path | None = None) -> str:
    """Return the id that was given, else that of the folder's project; the current folder by default.

    Raises:
        ProjectUnclear: the folder has no project.
    """
    found = project_id or recall(client.base_url, folder or Path())
    if found is None:
        raise ProjectUnclear("This folder belongs to no project. Name one by its id, or link the folder: zepid link ID")
    return found


async def choose_repository_project(
    client: Client, url: str, choice: Choice, identity: Identity
) -> tuple[Project, bool]:
    """Return the project for a git repository, by default the one of its name, and whether it was made just now.

    Raises:
        ProjectUnclear, ApiError: as `choose_project`.
    """
    organization_id = identity.organization_id or choice.organization_id
    named = replace(choice, name=choice.name or _usable(url.rstrip("/").rpartition("/")[2].removesuffix(".git")))
    project = await _existing(client, Path(), named, organization_id)
    return project or await _new(client, named.name or "", organization_id), project is None


async def remembered_project(client: Client, folder: Path) -> Project | None:
    """Return the project the folder went to before, None if there is none any more."""
    project_id = recall(client.base_url, folder)
    try:
        return await client.project(project_id) if project_id else None
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return None


def folder_name(folder: Path) -> str:
    """Return a project name: that of package.json, else the folder's."""
    try:
        package = msgspec.json.decode((folder / "package.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        package = {}
    given = str(package.get("name") or "").rpartition("/")[2] or folder.resolve().name
    return _usable(given)


def _usable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._ -]+", "-", name).strip(" -._")[:_LONGEST_NAME] or "site"


async def _new(client: Client, name: str, organization_id: str | None) -> Project:
    if organization_id is None:
        raise ProjectUnclear("The token acts for every organisation. Say whose project to make: set ZEPID_ORG.")
    return await client.create_project(name, organization_id)


async def _existing(client: Client, folder: Path, choice: Choice, organization_id: str | None) -> Project | None:
    if choice.project_id:
        return await client.project(choice.project_id)
    if not choice.name:
        return await remembered_project(client, folder)
    visible = [project async for project in client.projects() if project.name == choice.name]
    named = [project for project in visible if organization_id in (None, project.organization_id)]
    if len(named) > 1:
        ids = ", ".join(project.id for project in named[:5])
        raise ProjectUnclear(f"Several projects are named {choice.name!r}. Choose one by `--project ID`: {ids}.")
    return named[0] if named else None
