"""Plain lines and JSON lines: the views for pipes, CI and programs."""

import os
import sys
from typing import TextIO

import msgspec

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
    View,
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
from shared.client.answers import DeploymentStatus


def view_for(*, as_json: bool = False) -> View:
    """Return the view for stdout: JSON when asked for, live on a capable terminal, plain otherwise."""
    if as_json:
        return JsonView(sys.stdout)
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return PlainView(sys.stdout)
    from services.cli.live import LiveView

    return LiveView()


class JsonView:
    """One JSON object a line; the last one is the result."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, event: DeployEvent) -> None:
        """Write one line; what an event carries whole (a status, a log line) lies flat beside `type`."""
        fields = msgspec.to_builtins(event)
        for inner in ("deployment", "line"):
            fields |= fields.pop(inner, {})
        print(msgspec.json.encode(fields).decode(), file=self._out, flush=True)

    def close(self) -> None:
        """Nothing to put back."""


class PlainView:
    """Lines without control sequences, each said once."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._said: set[str] = set()

    def show(self, event: DeployEvent) -> None:
        """Write what is new."""
        match event:
            case Scanned():
                self._write(f"Source      {in_files(event.files)}, {in_bytes(event.total_bytes)} in {event.folder}")
                for warning in event.warnings:
                    self._write(f"Warning     {warning}")
            case ProjectChosen():
                self._write(f"Project     {event.project.name} ({event.project.id}){', new' if event.created else ''}")
            case Upload():
                if event.files == event.total_files:
                    self._write(f"Uploaded    {upload_note(event.files, event.bytes)}")
            case Accepted():
                self._write(f"Deployment  {event.deployment_id}")
            case StatusChanged():
                self._status(event.deployment)
            case LogAdded():
                self._write(f"{event.line.step:<9} | {printable(event.line.message)}")
            case Notice():
                self._write(f"Note        {event.message}")
            case DeployResult():
                self._result(event)

    def close(self) -> None:
        """Nothing to put back."""

    def _status(self, status: DeploymentStatus) -> None:
        if status.status == "pending":
            self._once(f"Queue       {waiting_note(status)}")
        for name, step in status.steps.items():
            if step.status == "in_progress":
                self._once(f"{name:<9} ...")
            elif step.status in ("completed", "failed"):
                word = "done" if step.status == "completed" else "FAILED"
                note = step_note(step)
                self._once(f"{name:<9} {word}{f' ({note})' if note else ''}", key=f"{name} {word}")

    def _result(self, result: DeployResult) -> None:
        if result.is_live:
            took = f" after {in_seconds(result.duration)}" if result.duration else ""
            self._write(f"Live        {result.worker_url}{took}")
        elif result.was_watched and result.deployment_id:
            self._write(f"{result.status.upper():<11} {result.deployment_id}")
            for line in diagnosis_lines(result.diagnosis, result.deployment_id):
                self._write(line)
        else:
            self._write(goes_on(result.deployment_id))

    def _once(self, line: str, key: str = "") -> None:
        if (key or line) not in self._said:
            self._said.add(key or line)
            self._write(line)

    def _write(self, line: str) -> None:
        print(line, file=self._out, flush=True)
