"""Asking the server to cancel or to retry, and waiting until a cancelled deployment is dead."""

import asyncio
import sys
from contextlib import aclosing

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from services.cli.render import in_seconds
from shared.client import Client
from shared.client.answers import DeploymentStatus


async def cancel_deployment(client: Client, deployment_id: str, *, wait: bool, as_json: bool) -> None:
    """Cancel a deployment and, with `wait`, return when its status says so; prints how it ended."""
    answer = await client.cancel(deployment_id)
    if not wait:
        typer.echo(msgspec.json.encode(answer).decode() if as_json else f"{deployment_id} {answer.message}")
        return
    try:
        status = await _ended(client, deployment_id)
    except asyncio.CancelledError:
        typer.echo(f"It is cancelled; stopping it goes on. See: zepid status {deployment_id}", err=True)
        raise
    if as_json:
        typer.echo(msgspec.json.encode(status).decode())
        return
    took = f" after {in_seconds(status.duration)}" if status.duration else ""
    typer.echo(f"{deployment_id} {status.status}{took}. Deploy it again: zepid retry {deployment_id}")


async def print_retry(client: Client, deployment_id: str, *, as_json: bool) -> None:
    """Start a deployment of the same source and print its id."""
    answer = await client.retry(deployment_id)
    typer.echo(msgspec.json.encode(answer).decode() if as_json else answer.deployment_id)


async def _ended(client: Client, deployment_id: str) -> DeploymentStatus:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(highlight=False, stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        bar.add_task(f"Stopping {deployment_id} …", total=None)
        async with aclosing(client.follow_events(deployment_id)) as events:
            async for event in events:
                if event.name == "end":
                    break
    return await client.status(deployment_id)
