"""How `zepid dlq redrive` tells how far it is."""

import sys
from types import TracebackType
from typing import Self

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from services.cli.render import printable
from shared.client.answers import Redrive, RedrivenLetter, RefusedLetter


class Redriving:
    """Says what became of each letter, as lines or JSON, and on a terminal the count while it goes on."""

    def __init__(self, *, as_json: bool) -> None:
        self.redriven = 0
        self.refused = 0
        self._as_json = as_json
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        console = Console(highlight=False, stderr=True)
        self._bar = Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("Redriving …", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if not self._as_json:
            typer.echo(self._count())

    def tell(self, answer: Redrive) -> None:
        """Say what became of some letters."""
        self.redriven += len(answer.redriven)
        self.refused += len(answer.refused)
        letters: tuple[RedrivenLetter | RefusedLetter, ...] = (*answer.redriven, *answer.refused)
        for letter in letters:
            typer.echo(msgspec.json.encode(letter).decode() if self._as_json else _line(letter))
        self._bar.update(self._task, description=self._count())

    def _count(self) -> str:
        return f"{self.redriven} redriven, {self.refused} refused"


def _line(letter: RedrivenLetter | RefusedLetter) -> str:
    if isinstance(letter, RefusedLetter):
        return f"{letter.sequence:>6}  refused  {letter.code}: {printable(letter.message)}"
    return f"{letter.sequence:>6}  redriven {letter.deployment_id} → {letter.new_deployment_id or 'its cleanup again'}"
