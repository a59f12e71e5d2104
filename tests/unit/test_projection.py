"""The fold from events to status, over any plausible order of them: late, doubled, out of place."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.errors import ZepidError
from shared.contracts.events import (
    Admitted,
    DeadLettered,
    Ended,
    Event,
    Failed,
    Refused,
    Started,
    Succeeded,
    WentBack,
)
from shared.contracts.messages import Command, Work
from shared.pipeline import CLEANUP, ORDER, STEPS
from shared.projection import Progress, apply

ID = "deploy_1"
FAILURE = ZepidError("STORAGE_READ_FAILED", "it broke on purpose")
names = st.sampled_from([step.name for step in STEPS])
worked = st.sampled_from([step.name for step in STEPS if not step.cleans_up])
times = st.floats(min_value=1.0, max_value=2e9)
small = st.integers(min_value=1, max_value=4)
epochs = st.integers(min_value=0, max_value=2)


def order_to(step: str, epoch: int = 0) -> Command:
    return Command(
        deployment_id=ID,
        project_id="p",
        organization_id="o",
        step=step,
        deadline=0.0,
        work=Work(source=""),
        epoch=epoch,
    )


def about(actor: str, at: float, epoch: int = 0) -> dict[str, object]:
    return {"deployment_id": ID, "actor": actor, "at": at, "epoch": epoch}


started = st.builds(lambda a, t, n, e: Started(**about(a, t, e), attempt=n), names, times, small, epochs)
succeeded = st.builds(
    lambda a, t, n, e: Succeeded(**about(a, t, e), attempt=n, started_at=t), names, times, small, epochs
)
failed = st.builds(
    lambda a, t, n, e, again: Failed(
        **about(a, t, e), attempt=n, started_at=t, failure=FAILURE.failure(a), retry_in=again
    ),
    names, times, small, epochs, st.none() | st.just(1.0),
)  # fmt: skip
went_back = st.builds(
    lambda a, t, n, e: WentBack(
        **about(a, t, e), attempt=n, started_at=t, failure=FAILURE.failure(a), next=order_to("sandbox", e + 1)
    ),
    st.sampled_from(["sync", "build"]), times, small, epochs,
)  # fmt: skip
ended = st.builds(
    lambda a, t, outcome: Ended(
        **about(a, t), outcome=outcome, failure=None if outcome == "completed" else FAILURE.failure(a)
    ),
    worked, times, st.sampled_from(["completed", "failed", "cancelled"]),
)  # fmt: skip
others = st.builds(lambda a, t: Refused(**about(a, t), attempt=1, decided="failed"), worked, times) | st.builds(
    lambda a, t: DeadLettered(**about(a, t), reason="max_retries_exceeded"), names, times
)
anything = st.lists(started | succeeded | failed | went_back | ended | others, max_size=40)


@st.composite
def lives(draw: st.DrawFn) -> list[Event]:
    """A deployment's events in their order, with some told late and some told twice."""
    events: list[Event] = [Admitted(**about("intake", 1.0), next=order_to("validate"))]
    for step in STEPS:
        at = 2.0 + ORDER[step.name]
        for attempt in range(1, draw(small)):
            failure = FAILURE.failure(step.name)
            events.append(Failed(**about(step.name, at), attempt=attempt, started_at=at, failure=failure, retry_in=1))
        if step.cleans_up:
            events.append(Ended(**about("deploy", at), outcome=draw(st.sampled_from(["completed", "failed"]))))
        events += [Started(**about(step.name, at), attempt=1)] if draw(st.booleans()) else []
        events.append(Succeeded(**about(step.name, at + 0.5), attempt=1, started_at=at))
    for _ in range(draw(st.integers(0, 5))):
        moved = draw(st.sampled_from(events[1:-1]))
        events.insert(draw(st.integers(events.index(moved), len(events))), moved)
    return events


def folded(events: Iterable[Event], progress: Progress | None = None) -> list[Progress]:
    states = []
    for sequence, event in enumerate(events, start=1):
        progress = apply(progress, event, sequence)
        states.append(progress)
    return states


@settings(max_examples=300)
@given(anything | lives())
def test_progress_never_goes_back(events: list[Event]) -> None:
    shown = [state.progress for state in folded(events)]
    assert shown == sorted(shown)


@settings(max_examples=300)
@given(anything | lives())
def test_what_is_over_never_changes(events: list[Event]) -> None:
    states = folded(events)
    outcomes = [state.outcome for state in states if state.outcome]
    assert len(set(outcomes)) <= 1
    over = [(state.status(), state.progress, state.finished_at, state.failure) for state in states if state.finished]
    assert len(set(map(repr, over))) <= 1
    assert all(state.finished for state in states[len(states) - len(over) :])


@settings(max_examples=100)
@given(anything | lives())
def test_events_told_again_from_the_start_change_nothing(events: list[Event]) -> None:
    states = folded(events)
    if states:
        assert folded(events, states[-1]) == [states[-1]] * len(events)


@settings(max_examples=300)
@given(lives())
def test_the_status_moves_only_forward_and_every_step_ends(events: list[Event]) -> None:
    states = folded(events)
    stages = [ORDER[state.stage] for state in states]
    assert stages == sorted(stages)
    last = states[-1]
    assert last.finished
    assert last.progress == (CLEANUP.progress if last.outcome == "completed" else 90)
    assert {step.name: last.step(step.name).status for step in STEPS} == dict.fromkeys(ORDER, "completed")


@settings(max_examples=300)
@given(anything)
def test_no_step_is_left_running_when_it_is_over(events: list[Event]) -> None:
    states = folded(events)
    if states and states[-1].finished:
        assert not [name for name, state in states[-1].steps.items() if state.status in ("pending", "in_progress")]
