"""How the queue is printed."""

from collections.abc import Awaitable, Callable, Iterable

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from services.cli.render import in_seconds
from shared.client import Client
from shared.client.answers import Backlog, Pause, Paused, WaitingOrganization

_ENDLESS = 1000


async def show_queue(client: Client, *, as_json: bool) -> None:
    """Print each actor's backlog, who waits for admission, and for whom it is stopped."""
    state = await client.queue()
    if as_json:
        typer.echo(msgspec.json.encode(state).decode())
        return
    limit = state.configuration.get("maxConcurrentDeployments", 0)
    console = Console(highlight=False, width=_ENDLESS, markup=False)
    console.print(_actors(state.actors))
    console.print(f"\nRunning: {state.running} of {limit:.0f}. Dead letters: {state.dead_letters}.")
    if state.waiting:
        console.print(_waiting(state.waiting))
    else:
        console.print("Nothing waits to start.")
    for line in _pause_lines(state.paused):
        console.print(line)


async def change_pause(
    client: Client, change: Callable[[str | None], Awaitable[Paused]], organization_id: str | None, *, as_json: bool
) -> None:
    """Pause or resume an organisation, or what the token stands for; print for whom admission is stopped then."""
    state = await change(organization_id or (await client.whoami()).organization_id)
    if as_json:
        typer.echo(msgspec.json.encode(state).decode())
        return
    for line in _pause_lines(state.paused) or ["Nothing is paused."]:
        typer.echo(line)


def _actors(actors: dict[str, Backlog]) -> Table:
    table = Table("Actor", "Pending", "In flight", "Redelivered", "Oldest", box=None, pad_edge=False)
    for name, actor in actors.items():
        table.add_row(
            name, str(actor.pending), str(actor.in_flight), str(actor.redelivered), _age(actor.oldest_age_seconds)
        )
    return table


def _waiting(waiting: Iterable[WaitingOrganization]) -> Table:
    table = Table("Organisation", "Waiting", "Running", "Oldest", box=None, pad_edge=False)
    for row in waiting:
        running = f"{row.running} of {row.limit}"
        table.add_row(row.organization_id, str(row.waiting), running, _age(row.oldest_age_seconds))
    return table


def _pause_lines(pauses: Iterable[Pause]) -> list[str]:
    return [
        f"Paused: {pause.organization_id or 'everyone'}, by {pause.paused_by} at {pause.paused_at}. "
        f"End it: zepid resume{f' --org {pause.organization_id}' if pause.organization_id else ''}"
        for pause in pauses
    ]


def _age(seconds: float | None) -> str:
    return in_seconds(None if seconds is None else seconds * 1000)
