"""What the commands around releases ask the server, and how they show the answers."""

from pathlib import Path
from typing import Literal

import typer

from services.cli.choice import project_here
from services.cli.errors import CommandError
from services.cli.render import in_bytes, in_files, print_json, print_table
from shared.client import Client
from shared.client.releases import Cleanup, Release, ReleasePage


async def list_releases(client: Client, project_id: str | None, *, limit: int, as_json: bool) -> None:
    """Print releases, newest first; as JSON one a line."""
    page = await client.releases.page(await project_here(client, project_id), limit)
    if as_json:
        print_json(*page.releases)
        return
    if page.lock:
        typer.echo(f"Locked by {page.lock.locked_by}: {page.lock.reason or 'no reason given'}")
    if not page.releases:
        typer.echo("Nothing was live yet. Deploy: zepid deploy")
        return
    print_table(("Release", "Created", "State", "Files", "Size", "Deployment", "Preview"), map(_cells, page.releases))
    _say_more(page, limit)


async def roll_back(
    client: Client, project_id: str | None, release_id: str | None, reason: str, *, as_json: bool
) -> None:
    """Go back to a release, by default to the one before the live one."""
    project = await project_here(client, project_id)
    answer = await client.releases.roll_back(project, release_id or await _one_before(client, project), reason)
    if as_json:
        print_json(answer)
    elif answer.changed:
        typer.echo(
            f"Live        {answer.release_id} at {answer.url}; before: {answer.previous_release_id or 'nothing'}"
        )
    else:
        typer.echo(f"{answer.release_id} is live already at {answer.url}")


async def lock_project(client: Client, project_id: str | None, reason: str, *, as_json: bool) -> None:
    """Lock a project."""
    project = await project_here(client, project_id)
    lock = await client.releases.lock(project, reason)
    if as_json:
        print_json(lock)
    else:
        typer.echo(f"{project} is locked. Let it change again: zepid unlock --project {project}")


async def unlock_project(client: Client, project_id: str | None, *, as_json: bool) -> None:
    """Take a project's lock away."""
    project = await project_here(client, project_id)
    await client.releases.unlock(project)
    if as_json:
        print_json({"projectId": project, "lock": None})
    else:
        typer.echo(f"{project} is not locked")


async def pin_release(client: Client, project_id: str | None, release_id: str, *, pinned: bool, as_json: bool) -> None:
    """Pin a release, or let it go."""
    now = await client.releases.pin(await project_here(client, project_id), release_id, pinned=pinned)
    if as_json:
        print_json({"releaseId": release_id, "pinned": now})
    else:
        typer.echo(f"{release_id} {'is kept for ever' if now else 'expires as any other'}")


async def list_artifacts(client: Client, deployment_id: str, *, as_json: bool) -> None:
    """Print what a deployment has built."""
    built = await client.releases.artifacts(deployment_id)
    if as_json:
        print_json(built)
        return
    print_table(("Path", "Size", "Type"), ((file.path, in_bytes(file.size), file.type) for file in built.files))
    typer.echo(f"{in_files(len(built.files))}, {in_bytes(built.total_bytes)}")


async def download_artifacts(
    client: Client, deployment_id: str, to: Path, format: Literal["tar.gz", "zip"], *, as_json: bool
) -> None:
    """Write everything that a deployment has built to an archive.

    Raises:
        CommandError: the file cannot be written.
    """
    try:
        size = await client.releases.download(deployment_id, to, format)
    except OSError as error:
        raise CommandError(f"{to} cannot be written: {error.strerror}") from None
    if as_json:
        print_json({"file": str(to), "size": size})
    else:
        typer.echo(f"{to}: {in_bytes(size)}")


async def clean_up(
    client: Client, older_than_days: int | None, keep_releases: int | None, *, dry_run: bool, as_json: bool
) -> None:
    """Clean up, or say what would go."""
    answer = await client.releases.cleanup(older_than_days, keep_releases, dry_run=dry_run)
    if as_json:
        print_json(answer)
    else:
        typer.echo("\n".join(_report(answer)))


async def _one_before(client: Client, project_id: str) -> str:
    """Return the newest kept release that is older than the live one."""
    is_older = False
    async for release in client.releases.all(project_id):
        if is_older and release.kept:
            return release.id
        is_older |= release.live
    raise CommandError("There is no kept release before the live one. See: zepid releases")


def _cells(release: Release) -> tuple[str, ...]:
    states = {"live": release.live, "pinned": release.pinned, "not kept": not release.kept}
    return (
        release.id,
        release.created_at[:19].replace("T", " "),
        ", ".join(state for state, holds in states.items() if holds),
        str(release.files),
        in_bytes(release.size),
        release.deployment_id,
        release.url if release.kept else "",
    )


def _say_more(page: ReleasePage, limit: int) -> None:
    if page.next_cursor:
        typer.echo(f"There are more than {limit}. See them: --limit, at most 200")


def _report(answer: Cleanup) -> list[str]:
    removed = answer.removed
    return [
        "Would remove" if answer.dry_run else "Removed",
        f"  deployments  {removed.deployments:,}, of which {removed.releases:,} had a release",
        f"  sources      {removed.snapshots:,}",
        f"  files        {removed.blobs:,}, {in_bytes(removed.blob_bytes)}",
        f"  logs         {removed.logs:,}, {in_bytes(removed.log_bytes)}",
        f"In all {in_bytes(answer.freed_bytes)}",
    ]
