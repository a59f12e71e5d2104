"""A deployment as callers see it: one pure rendering for answers from SQL and from the journal."""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.contracts.errors import Failure
from shared.pipeline import STEPS
from shared.projection import Progress, StepState
from shared.times import iso_time


class StepBody(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One step; `status` is pending, in_progress, completed, failed or skipped, `duration` milliseconds."""

    status: str
    attempts: int
    started_at: str | None = None
    completed_at: str | None = None
    duration: int | None = None
    error: str | None = None


class StatusBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One deployment.

    Attributes:
        status: pending, the step's word while it runs, then completed, failed or cancelled.
        progress: percent; never goes back.
        stage, current_step: the step that is or will be worked on.
        started_at: when it was accepted.
        duration: milliseconds from acceptance to the end.
        queue_position: while it waits, from 1.
        estimated_start_seconds: while it waits and recent deployments tell.
        queue_paused: its organisation or everyone is paused; it starts after that is over.
        retry_of: the deployment whose snapshot is deployed again.
        diagnosis: of a failure: code, class, message, excerpt, hint.
    """

    deployment_id: str
    status: str
    progress: int
    stage: str
    started_at: str
    current_step: str
    steps: dict[str, StepBody]
    timestamp: str
    completed_at: str | None = None
    duration: int | None = None
    error: str | None = None
    worker_url: str | None = None
    queue_position: int | None = None
    estimated_start_seconds: int | None = None
    queue_paused: bool = False
    retry_of: str | None = None
    diagnosis: Failure | None = None


class FirstForm(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first version's status: queued, running, complete, errored or terminated."""

    status: str
    error: str | None = None
    output: dict[str, str] | None = None


def render(
    deployment_id: str,
    accepted_at: float,
    progress: Progress | None,
    now: float,
    queue_position: int | None = None,
    estimated_start_seconds: int | None = None,
    queue_paused: bool = False,
    retry_of: str | None = None,
) -> StatusBody:
    """Return what callers see; times in seconds since 1970, no progress means pending."""
    known = progress or Progress(deployment_id, sequence=0)
    ended = known.finished
    return StatusBody(
        deployment_id=deployment_id,
        status=known.status() if progress else "pending",
        progress=known.progress,
        stage=known.stage,
        started_at=iso_time(accepted_at),
        current_step=known.stage,
        steps={step.name: _render_step(known.step(step.name)) for step in STEPS},
        timestamp=iso_time(now),
        completed_at=iso_time(known.finished_at) if ended and known.finished_at else None,
        duration=_milliseconds(accepted_at, known.finished_at) if ended else None,
        error=known.failure.message if ended and known.failure else None,
        worker_url=known.url if ended and known.outcome == "completed" else None,
        queue_position=queue_position,
        estimated_start_seconds=estimated_start_seconds,
        queue_paused=queue_paused,
        retry_of=retry_of,
        diagnosis=known.failure if ended else None,
    )


def without_time(body: StatusBody) -> StatusBody:
    """Return the body without the moment of its making, to compare two of them."""
    return msgspec.structs.replace(body, timestamp="")


def progress_in(row: Mapping[str, Any]) -> Progress | None:
    """Return the projection in a row of `Deployments.status`, None where there is none yet."""
    if row["stage"] is None:
        return None
    return Progress(
        deployment_id=row["id"],
        sequence=0,
        stage=row["stage"],
        progress=row["progress"],
        finished=row["finished"],
        outcome=row["outcome"],
        failure=msgspec.convert(row["failure"], Failure | None),
        url=row["url"],
        finished_at=row["finished_at"].timestamp() if row["finished_at"] else None,
        steps={step["step"]: _step_in(step) for step in row["steps"]},
    )


def first_form(body: StatusBody) -> FirstForm:
    """Return the status as the first version of the service showed it."""
    words = {"pending": "queued", "completed": "complete", "failed": "errored", "cancelled": "terminated"}
    output = {"workerUrl": body.worker_url} if body.worker_url else None
    return FirstForm(words.get(body.status, "running"), body.error, output)


def step_of_word(word: str) -> str:
    """Return the step whose status word this is; other words are their own."""
    return next((step.name for step in STEPS if step.status == word), word)


def word_of(stage: str | None, finished: bool | None, outcome: str | None) -> str:
    """Return the status word of a deployment in a list."""
    if stage is None:
        return "pending"
    return Progress("", sequence=0, stage=stage, finished=bool(finished), outcome=outcome).status()


def _render_step(state: StepState) -> StepBody:
    return StepBody(
        status=state.status,
        attempts=state.attempts,
        started_at=iso_time(state.started_at) if state.started_at else None,
        completed_at=iso_time(state.completed_at) if state.completed_at else None,
        duration=_milliseconds(state.started_at, state.completed_at),
        error=state.failure.message if state.failure else None,
    )


def _step_in(row: Mapping[str, Any]) -> StepState:
    return StepState(
        status=row["status"],
        attempts=row["attempts"],
        started_at=row["startedAt"],
        completed_at=row["completedAt"],
        failure=msgspec.convert(row["failure"], Failure | None),
        detail=row["detail"] or "",
    )


def _milliseconds(start: float | None, end: float | None) -> int | None:
    return None if start is None or end is None else max(0, round((end - start) * 1000))
