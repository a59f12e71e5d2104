"""The commands that only look: `status`, `logs`, `ls`, `open`."""

import webbrowser
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.choice import remembered_project
from services.cli.errors import ProjectUnclear
from services.cli.render import diagnosis_lines, in_seconds, printable, waiting_note
from shared.client import Client
from shared.client.answers import DeploymentRow, DeploymentStatus, LogRecord

_ENDLESS = 1000
_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "in_progress": "cyan", "pending": "dim"}


async def show_status(client: Client, deployment_id: str, *, as_json: bool) -> None:
    """Print where a deployment stands: its steps with durations, and why it failed."""
    status = await client.status(deployment_id)
    if as_json:
        typer.echo(msgspec.json.encode(status).decode())
        return
    console = _console()
    console.print(_headline(status))
    if status.status == "pending":
        console.print(waiting_note(status))
    else:
        console.print(_step_table(status))
    if status.status in ("failed", "cancelled"):
        console.print(Text("\n".join(diagnosis_lines(status.diagnosis, deployment_id)), style="red"))


async def show_logs(
    client: Client, deployment_id: str, *, step: str | None, follow: bool, format: Literal["text", "ndjson"]
) -> None:
    """Print a deployment's log, and with `follow` go on until the deployment has ended."""
    lines = client.follow_logs(deployment_id) if follow else client.logs(deployment_id, step)
    async with aclosing(lines):
        async for line in lines:
            if line is None or step in (None, line.step):
                _print_line(line, format)


async def list_deployments(client: Client, *, limit: int, project_id: str | None, as_json: bool) -> None:
    """Print the latest deployments, newest first."""
    page = await client.deployments(limit=limit, project_id=project_id)
    if as_json:
        for row in page.deployments:
            typer.echo(msgspec.json.encode(row).decode())
        return
    if not page.deployments:
        typer.echo("No deployment yet. Make one: zepid deploy DIR")
        return
    table = Table("Deployment", "Project", "Status", "Started", "Took", "URL", box=None, pad_edge=False)
    for row in page.deployments:
        table.add_row(*_cells(row))
    _console().print(table)


async def open_site(client: Client, target: str, *, as_json: bool) -> None:
    """Open the site of a deployment, a project or a folder in the browser and print its address.

    Raises:
        ProjectUnclear: the folder has not been deployed to this server.
    """
    url = await _address(client, target, _folder(target))
    typer.echo(msgspec.json.encode({"url": url}).decode() if as_json else url)
    if not as_json:
        webbrowser.open(url)


def _folder(target: str) -> Path | None:
    return Path(target) if Path(target).is_dir() else None


async def _address(client: Client, target: str, folder: Path | None) -> str:
    if folder is None and target.startswith("deploy_"):
        status = await client.status(target)
        if not status.worker_url:
            raise ProjectUnclear(f"{target} is {status.status} and has no address. See: zepid status {target}")
        return status.worker_url
    if folder is None:
        return (await client.project(target)).url
    project = await remembered_project(client, folder)
    if project is None:
        raise ProjectUnclear(f"{target} has not been deployed to {client.base_url}. Do it: zepid deploy {target}")
    return project.url


def _console() -> Console:
    """Return stdout without a right edge at which an id or an address would be cut."""
    return Console(highlight=False, width=_ENDLESS)


def _print_line(line: LogRecord | None, format: Literal["text", "ndjson"]) -> None:
    if format == "ndjson":
        typer.echo(msgspec.json.encode(line or {"gap": True}).decode())
    elif line is None:
        typer.echo("-- some lines were lost --")
    else:
        typer.echo(f"{line.timestamp} {line.step:<9} {printable(line.message)}")


def _headline(status: DeploymentStatus) -> Text:
    took = f" after {in_seconds(status.duration)}" if status.duration else ""
    word = (status.status.replace("_", " "), _STYLES.get(status.status, "cyan"))
    return Text.assemble(
        (status.deployment_id, "bold"), " ", word, f" {status.progress} %{took} {status.worker_url or ''}"
    )


def _step_table(status: DeploymentStatus) -> Table:
    table = Table("Step", "Status", "Took", "Attempts", box=None, pad_edge=False)
    for name, step in status.steps.items():
        word = Text(step.status.replace("_", " "), style=_STYLES.get(step.status, ""))
        table.add_row(name, word, in_seconds(step.duration), str(step.attempts or ""))
    return table


def _cells(row: DeploymentRow) -> tuple[str | Text, ...]:
    started = (row.started_at or row.created_at or "")[:19].replace("T", " ")
    status = Text(row.status.replace("_", " "), style=_STYLES.get(row.status, "cyan"))
    return (
        row.deployment_id,
        row.project_name or row.project_id,
        status,
        started,
        in_seconds(row.duration),
        row.worker_url or "",
    )
