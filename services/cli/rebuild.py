"""`zepid projector rebuild`: asks the active projector, or does it where none is active."""

import asyncio
import time

import typer

from services.projector import create
from shared.adapters.postgres.projections import Projections
from shared.resources import Resources, open_resources
from shared.settings import Settings


async def rebuild_projection(settings: Settings) -> None:
    """Ask for the rebuild, stand in as a projector, and return when it is done."""
    async with open_resources(settings, "rebuild") as resources:
        async with resources.pool.acquire() as connection:
            await Projections(connection).ask_for_rebuild()
        stopping = asyncio.Event()
        projecting = asyncio.create_task(create(resources).run(stopping))
        started = time.monotonic()
        while await _is_asked(resources):
            typer.echo(f"Rebuilding … {time.monotonic() - started:.0f} s")
            await asyncio.sleep(1)
        stopping.set()
        await projecting
    typer.echo("The status rows were made again from the journal.")


async def _is_asked(resources: Resources) -> bool:
    async with resources.pool.acquire() as connection:
        position = await Projections(connection).position()
    return position is not None and position.rebuild
