"""What `zepid dlq` asks the server, and how it shows the answers."""

import asyncio
import math
import time
from dataclasses import dataclass

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from services.cli.redriving import Redriving
from services.cli.render import printable
from shared.client import ApiError, Client
from shared.client.answers import LetterRow, Redrive, RefusedLetter, WholeLetter
from shared.times import iso_time

_ENDLESS = 1000
_CALL_SECONDS = 1.0
"""A call redrives as many letters as the rate allows in that time, so that progress can be shown."""
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant; None means any."""

    reason: str | None
    step: str | None
    organization_id: str | None

    def as_filter(self) -> dict[str, str]:
        """Return it as the API takes it."""
        given = {"reason": self.reason, "actor": self.step, "orgId": self.organization_id}
        return {name: value for name, value in given.items() if value}


async def list_letters(client: Client, chosen: Choice, *, limit: int, as_json: bool) -> None:
    """Print letters, newest first."""
    page = await client.dead_letters(chosen.reason, chosen.step, chosen.organization_id, limit)
    if as_json:
        for letter in page.letters:
            typer.echo(msgspec.json.encode(letter).decode())
        return
    if not page.letters:
        typer.echo("No dead letters.")
        return
    table = Table("Seq", "When", "Step", "Reason", "Deployment", "Last error", box=None, pad_edge=False)
    for letter in page.letters:
        table.add_row(*_cells(letter))
    Console(highlight=False, width=_ENDLESS, markup=False).print(table)
    if page.next_cursor:
        typer.echo(f"There are more than {limit}. See them: --limit, at most {_PAGE}, or --step, --reason, --org")


async def show_letter(client: Client, sequence: int, *, as_json: bool) -> None:
    """Print a whole letter."""
    letter = await client.dead_letter(sequence)
    typer.echo(msgspec.json.encode(letter).decode() if as_json else "\n".join(_lines(letter)))


async def redrive_each(client: Client, sequences: list[int], rate: float, redriving: Redriving) -> None:
    """Redrive the letters named; one that is refused does not stop the others."""
    for position, sequence in enumerate(sequences):
        if position:
            await asyncio.sleep(1 / rate)
        try:
            redriving.tell(Redrive(redriven=(await client.redrive(sequence),)))
        except ApiError as error:
            if error.status in (401, 403) or error.status >= 500:
                raise
            refused = RefusedLetter(sequence=sequence, code=error.code, message=error.message)
            redriving.tell(Redrive(refused=(refused,)))


async def redrive_all(client: Client, chosen: Choice, rate: float, redriving: Redriving) -> None:
    """Redrive all letters that fit and that died before now, so that what dies again is left alone."""
    fitting = {**chosen.as_filter(), "before": iso_time(time.time())}
    limit = max(1, math.floor(rate * _CALL_SECONDS))
    after: int | None = 0
    while after is not None:
        answer = await client.redrive_all(fitting, rate=rate, limit=limit, after=after)
        redriving.tell(answer)
        after = answer.next


async def discard_letters(client: Client, sequences: list[int], reason: str, *, as_json: bool) -> None:
    """Discard the letters named."""
    for sequence in sequences:
        discarded = await client.discard(sequence, reason)
        typer.echo(msgspec.json.encode(discarded).decode() if as_json else f"{sequence} discarded")


def _cells(letter: LetterRow) -> tuple[str, ...]:
    when = letter.died_at[:19].replace("T", " ")
    return str(letter.sequence), when, letter.actor, letter.reason, letter.deployment_id, printable(letter.error)


def _lines(letter: WholeLetter) -> list[str]:
    now = letter.deployment.status.replace("_", " ") if letter.deployment else "not recorded"
    return [
        f"Letter      {letter.sequence}, {letter.died_at}",
        f"Step        {letter.actor}",
        f"Reason      {letter.reason} after {letter.deliveries} deliveries",
        f"Deployment  {letter.deployment_id}, now {now}",
        f"Owner       {letter.organization_id or 'unknown'}, project {letter.project_id or 'unknown'}",
        *([f"Trace       {letter.trace_id}"] if letter.trace_id else []),
        "Errors",
        *(f"  {printable(error)}" for error in letter.errors),
        "Command",
        f"  {printable(letter.body)}",
        f"Try again: zepid dlq redrive {letter.sequence}. Give up: zepid dlq discard {letter.sequence} --reason TEXT",
    ]
