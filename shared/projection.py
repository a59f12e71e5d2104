"""The fold from journal events to what people see: status, progress, steps. Pure, no I/O.

The projector keeps the result in rows; a gateway folds the same events for its event streams.
"""

import msgspec

from shared.contracts.errors import Failure
from shared.contracts.events import (
    Admitted,
    DeadLettered,
    Ended,
    Event,
    Failed,
    LetterClosed,
    Refused,
    Reissued,
    Started,
    Succeeded,
    WentBack,
)
from shared.pipeline import BY_NAME, CLEANUP, FIRST, ORDER, STEPS


class StepState(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step as people see it; times in seconds since 1970.

    Attributes:
        status: `pending`, `in_progress`, `completed`, `failed` or `skipped`.
        attempts: attempts so far, over all epochs.
        detail: one line of what it did.
    """

    status: str = "pending"
    attempts: int = 0
    started_at: float | None = None
    completed_at: float | None = None
    failure: Failure | None = None
    detail: str = ""


class Progress(msgspec.Struct, frozen=True):
    """One deployment as people see it, folded up to the journal's `sequence`.

    Attributes:
        stage: the step that is or will be worked on.
        progress: percent, never going back.
        finished: the outcome may be shown: cleanup is over, or there was nothing to clean.
    """

    deployment_id: str
    sequence: int
    stage: str = FIRST.name
    progress: int = 0
    epoch: int = 0
    finished: bool = False
    outcome: str | None = None
    failure: Failure | None = None
    url: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    steps: dict[str, StepState] = {}

    def step(self, name: str) -> StepState:
        """The state of a step; pending when nothing is known of it."""
        return self.steps.get(name, StepState())

    def status(self) -> str:
        """The status word of the HTTP contract."""
        if self.finished and self.outcome:
            return self.outcome
        return BY_NAME[self.stage].status


def apply(progress: Progress | None, event: Event, sequence: int) -> Progress:
    """Return the progress after an event; one that was applied before changes nothing."""
    if progress is None:
        progress = Progress(event.deployment_id, sequence=0)
    if sequence <= progress.sequence:
        return progress
    progress = msgspec.structs.replace(progress, sequence=sequence)
    if progress.finished and not (isinstance(event, Succeeded) and event.actor == CLEANUP.name):
        return progress
    match event:
        case Admitted():
            return msgspec.structs.replace(progress, started_at=event.at)
        case Started():
            return _started(progress, event)
        case Succeeded():
            return _succeeded(progress, event)
        case Failed():
            return _failed(progress, event)
        case WentBack():
            return _went_back(progress, event)
        case Ended():
            return _ended(progress, event)
        case DeadLettered(actor=CLEANUP.name):
            return _finish(progress, event.at, status="failed")
        case DeadLettered() | LetterClosed() | Refused() | Reissued():
            return progress


def _started(progress: Progress, event: Started) -> Progress:
    state = progress.step(event.actor)
    told_late = state.status != "pending" and event.attempt <= state.attempts
    if state.status == "completed" or told_late or event.epoch < progress.epoch:
        return progress
    state = msgspec.structs.replace(
        state,
        status="in_progress",
        attempts=max(state.attempts, event.attempt),
        started_at=state.started_at or event.at,
    )
    return _with_step(progress, event.actor, state)


def _succeeded(progress: Progress, event: Succeeded) -> Progress:
    step = BY_NAME[event.actor]
    if event.epoch < progress.epoch and not step.cleans_up:
        return progress
    state = progress.step(event.actor)
    state = msgspec.structs.replace(
        state,
        status="completed",
        attempts=max(state.attempts, event.attempt),
        started_at=state.started_at or event.started_at,
        completed_at=event.at,
        failure=None,
        detail=event.detail,
    )
    progress = _with_step(progress, event.actor, state)
    if step is CLEANUP:
        return _finish(progress, event.at, status="completed")
    stage = STEPS[min(ORDER[step.name] + 1, len(STEPS) - 1)].name
    stage = max(stage, progress.stage, key=ORDER.__getitem__)
    return msgspec.structs.replace(progress, stage=stage, progress=max(progress.progress, step.progress))


def _failed(progress: Progress, event: Failed) -> Progress:
    state = progress.step(event.actor)
    if state.status == "completed" or event.epoch < progress.epoch:
        return progress
    state = msgspec.structs.replace(
        state,
        status="failed" if event.retry_in is None else "in_progress",
        attempts=max(state.attempts, event.attempt),
        started_at=state.started_at or event.started_at,
        failure=event.failure,
    )
    return _with_step(progress, event.actor, state)


def _went_back(progress: Progress, event: WentBack) -> Progress:
    back_to = ORDER[event.next.step]
    steps = {
        name: StepState(attempts=state.attempts, failure=state.failure) if ORDER[name] >= back_to else state
        for name, state in progress.steps.items()
    }
    steps[event.actor] = StepState(
        attempts=max(progress.step(event.actor).attempts, event.attempt), failure=event.failure
    )
    return msgspec.structs.replace(progress, epoch=event.next.epoch, stage=event.next.step, steps=steps)


def _ended(progress: Progress, event: Ended) -> Progress:
    if progress.outcome is not None:
        return progress
    progress = msgspec.structs.replace(
        progress, outcome=event.outcome, failure=event.failure, url=event.url or None, stage=CLEANUP.name
    )
    if event.failure is not None and event.failure.step in BY_NAME:
        state = msgspec.structs.replace(
            progress.step(event.failure.step), status="failed", completed_at=event.at, failure=event.failure
        )
        progress = _with_step(progress, event.failure.step, state)
    if progress.started_at is None:
        return _finish(progress, event.at, status="skipped")
    if progress.step(CLEANUP.name).status == "completed":
        return _finish(progress, event.at, status="completed")
    return progress


def _finish(progress: Progress, at: float, *, status: str) -> Progress:
    """Close the books, once the outcome is known too: only success reaches 100 percent."""
    if progress.outcome is None:
        return progress
    succeeded = progress.outcome == "completed"
    steps = {step.name: _closed(progress.step(step.name), at, succeeded=succeeded) for step in STEPS}
    steps[CLEANUP.name] = msgspec.structs.replace(steps[CLEANUP.name], status=status)
    return msgspec.structs.replace(
        progress,
        finished=True,
        finished_at=progress.finished_at or at,
        steps=steps,
        progress=CLEANUP.progress if succeeded else progress.progress,
    )


def _closed(state: StepState, at: float, *, succeeded: bool) -> StepState:
    """What a step was when all is over: a success is the success of every step, even one that could not tell."""
    match state.status:
        case "pending" | "in_progress" if succeeded:
            return msgspec.structs.replace(state, status="completed", completed_at=at)
        case "in_progress":
            return msgspec.structs.replace(state, status="failed", completed_at=at)
        case "pending":
            return msgspec.structs.replace(state, status="skipped")
    return state


def _with_step(progress: Progress, name: str, state: StepState) -> Progress:
    return msgspec.structs.replace(progress, steps={**progress.steps, name: state})
