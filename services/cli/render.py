"""Values as people read them."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from shared.client.answers import DeploymentStatus, StepState
from shared.contracts.errors import Failure

_SEQUENCES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_ENDLESS = 1000


def print_json(*values: Any) -> None:
    """Print values for programs, one a line."""
    for value in values:
        typer.echo(msgspec.json.encode(value).decode())


def print_table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print rows below their titles, each on one line however long."""
    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(printable, row))
    Console(highlight=False, width=_ENDLESS, markup=False).print(table)


def in_bytes(size: int) -> str:
    """Return a size such as `34.1 kB`."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def in_files(count: int) -> str:
    """Return a number of files such as `1 file` or `2,310 files`."""
    return "1 file" if count == 1 else f"{count:,} files"


def upload_note(files: int, size: int) -> str:
    """Return what an upload came to."""
    return f"{in_files(files)}, {in_bytes(size)}" if files else "nothing: the service has every file already"


def in_seconds(milliseconds: float | None) -> str:
    """Return a duration such as `0.42 s`, `17 s` or `2 min 5 s`; "" when unknown."""
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    if seconds < 10:
        return f"{seconds:.2f} s"
    return f"{seconds:.0f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def printable(text: str) -> str:
    """Return a tool's output without anything that could steer the terminal; of overwritten text the last."""
    shown = text.rstrip("\r").rpartition("\r")[2]
    return _CONTROLS.sub("", _SEQUENCES.sub("", shown))


def step_note(step: StepState) -> str:
    """Return what is worth saying about a finished step: its duration, and attempts if several."""
    tries = f"attempt {step.attempts}" if step.attempts > 1 else ""
    return ", ".join(part for part in (in_seconds(step.duration), tries) if part)


def waiting_note(status: DeploymentStatus) -> str:
    """Return what a deployment that has not started waits for."""
    if status.queue_position is None:
        return "waiting to start"
    if status.queue_paused:
        return f"waiting to start: number {status.queue_position} in the queue, which an operator has paused"
    start = f", about {status.estimated_start_seconds:.0f} s" if status.estimated_start_seconds else ""
    return f"waiting to start: number {status.queue_position} in the queue{start}"


def diagnosis_lines(diagnosis: Failure | None, deployment_id: str) -> list[str]:
    """Return why a deployment failed and what to do, as lines."""
    more = f"Whole log: zepid logs {deployment_id}"
    if diagnosis is None:
        return ["The service gave no reason.", more]
    place = diagnosis.file or ""
    if place and diagnosis.line:
        place = f"{place}:{diagnosis.line}"
    excerpt = [f"  {printable(line)}" for line in diagnosis.excerpt.splitlines()]
    lines = [
        f"{diagnosis.code} in step {diagnosis.step}: {printable(diagnosis.message)}",
        f"At {printable(place)}" if place else "",
        *excerpt,
        f"Hint: {diagnosis.hint}" if diagnosis.hint else "",
        more,
    ]
    return [line for line in lines if line]


def goes_on(deployment_id: str | None) -> str:
    """Return what became of a deployment that is no longer watched."""
    if deployment_id is None:
        return "Nothing was deployed."
    return f"The deployment goes on. Watch it: zepid logs -f {deployment_id}. Stop it: zepid cancel {deployment_id}"
