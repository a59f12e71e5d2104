"""The view for a terminal: the steps stay at the bottom while the build's output scrolls above."""

import asyncio
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from services.cli.events import (
    Accepted,
    DeployEvent,
    DeployResult,
    LogAdded,
    Notice,
    ProjectChosen,
    Scanned,
    StatusChanged,
    Upload,
)
from services.cli.render import (
    diagnosis_lines,
    goes_on,
    in_bytes,
    in_files,
    in_seconds,
    printable,
    step_note,
    upload_note,
    waiting_note,
)
from shared.client.answers import DeploymentStatus, LogRecord, StepState

_MARKS = {"completed": ("✔", "green"), "failed": ("✘", "red"), "skipped": ("–", "dim"), "pending": ("·", "dim")}
_LOG_SECONDS = 0.05
_LEVELS = {"error": "red", "warn": "yellow"}


class LiveView:
    """Steps with spinner, tick or cross and their durations; ends with a panel."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._log = _Log(self._console)
        self._steps = _Steps()
        self._live = Live(self._steps, console=self._console, refresh_per_second=10, transient=True)
        self._bar: Progress | None = None

    def show(self, event: DeployEvent) -> None:
        """Bring the screen up to date."""
        match event:
            case Scanned():
                self._fact("Source", f"{in_files(event.files)}, {in_bytes(event.total_bytes)} in {event.folder}")
                for warning in event.warnings:
                    self._fact("Warning", warning, "yellow")
            case ProjectChosen():
                self._fact("Project", f"{event.project.name} ({event.project.id}){', new' if event.created else ''}")
            case Upload():
                self._upload(event)
            case Accepted():
                self._fact("Deployment", event.deployment_id)
                self._live.start()
            case StatusChanged():
                self._steps.update(event.deployment)
            case LogAdded():
                self._log.add(event.line)
            case Notice():
                self._fact("Note", event.message, "yellow")
            case DeployResult():
                self._result(event)

    def close(self) -> None:
        """Stop drawing; what is on the screen stays."""
        self._log.print()
        if self._bar:
            self._bar.stop()
        self._live.stop()

    def _fact(self, name: str, text: str, style: str = "") -> None:
        self._log.print()
        self._console.print(Text.assemble((f"{name:<11} ", "bold"), (printable(text), style)))

    def _upload(self, event: Upload) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("[bold]Upload     [/bold]"),
                BarColumn(),
                DownloadColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.add_task("upload", total=event.total_bytes)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=event.bytes)
        if event.files == event.total_files:
            self._bar.stop()
            self._bar = None
            self._fact("Uploaded", upload_note(event.files, event.bytes))

    def _result(self, result: DeployResult) -> None:
        self.close()
        if not result.was_watched:
            self._console.print(goes_on(result.deployment_id), style="yellow")
            return
        self._console.print(self._steps)
        if result.is_live:
            url = result.worker_url or ""
            took = in_seconds(result.duration)
            body = Text.assemble((url, f"bold link {url}"), (f"\nlive after {took}" if took else "", "dim"))
            self._console.print(Panel(body, title="Live", border_style="green", expand=False, padding=(1, 3)))
            return
        why = Group(*map(_diagnosis_line, diagnosis_lines(result.diagnosis, result.deployment_id or "")))
        self._console.print(Panel(why, title=result.status.capitalize(), border_style="red", expand=False))


def _diagnosis_line(line: str) -> RenderableType:
    """Keep the indentation of an excerpt where it wraps, and set apart what it is about."""
    excerpt = line.removeprefix("  ")
    if excerpt != line:
        return Padding.indent(Text(excerpt, style="dim"), 2)
    name, colon, text = line.partition(": ")
    return Text.assemble((name, "bold"), colon, text)


class _Log:
    """The build's output. Each print draws the steps below it again, so lines are printed many at a time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: list[RenderableType] = []
        self._due: asyncio.TimerHandle | None = None

    def add(self, line: LogRecord) -> None:
        """Take one more line; it is on the screen in a moment."""
        text = Text(printable(line.message) or " ", style=_LEVELS.get(line.level, "dim"))
        self._lines.append(Padding.indent(text, 2))
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_LOG_SECONDS, self.print)

    def print(self) -> None:
        """Print the lines that wait."""
        if self._due:
            self._due.cancel()
            self._due = None
            self._console.print(Group(*self._lines))
            self._lines.clear()


class _Steps:
    """The list of steps, drawn again at each refresh so that running times advance."""

    def __init__(self) -> None:
        self._status: DeploymentStatus | None = None
        self._since: dict[str, float] = {}
        self._spinner = Spinner("dots", style="cyan")

    def update(self, status: DeploymentStatus) -> None:
        self._status = status
        for name, step in status.steps.items():
            if step.status == "in_progress":
                self._since.setdefault(name, time.monotonic())

    def __rich__(self) -> RenderableType:
        if self._status is None or self._status.status == "pending":
            note = waiting_note(self._status) if self._status else "waiting for the first sign"
            self._spinner.update(text=Text(note, style="dim"))
            return Padding(self._spinner, (1, 0, 0, 0))
        table = Table.grid(padding=(0, 1))
        for name, step in self._status.steps.items():
            self._row(table, name, step)
        return Padding(table, (1, 0, 0, 0))

    def _row(self, table: Table, name: str, step: StepState) -> None:
        if step.status == "in_progress":
            self._spinner.update(text="")
            running = 1000 * (time.monotonic() - self._since[name])
            table.add_row(self._spinner, Text(name, style="bold"), Text(in_seconds(running), style="cyan"))
            return
        mark, style = _MARKS.get(step.status, ("·", "dim"))
        table.add_row(
            Text(mark, style=style),
            Text(name, style="" if step.status == "completed" else style),
            Text(step_note(step), style="dim"),
        )
