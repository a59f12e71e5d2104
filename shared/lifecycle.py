"""The life cycle of a deployment in one place: its states, and who may move it from one to the next, how.

The row in the table `deployment` is the truth; this file says what it may become. The SQL functions
keep to it by their guards, `tests/model` tries to make the running code leave it, and an audit asks
`violations` whether what it sees in a database could have come about by the book.

    waiting ──admit──▶ admitted ──end──▶ ended ──free──▶ freed
       └────────────────end (nothing to clean up)──────────▲
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from shared.pipeline import CLEANUP, STEPS

Row = Mapping[str, Any]
"""A row of the table `deployment`, with the columns named in `COLUMNS` at least."""
COLUMNS = ("id", "project_id", "accepted_at", "admitted_at", "outcome", "failure", "release_id", "ended_at", "freed_at")
"""What `violations` looks at."""


class State(StrEnum):
    """Where a deployment stands."""

    WAITING = "waiting"
    """Accepted: it holds its project's claim and, where metered, a unit of quota."""
    ADMITTED = "admitted"
    """It holds a slot, its deadline runs, and a command of it is queued or being worked on."""
    ENDED = "ended"
    """The outcome is decided and the claim free; its sandbox may still live."""
    FREED = "freed"
    """The sandbox is dead and the slot free; nothing follows."""


OUTCOMES = ("completed", "failed", "cancelled")
"""What `ended` and `freed` may mean; decided once."""

_WORKING = tuple(step.name for step in STEPS if not step.cleans_up)
_CONCLUDING = tuple(step.name for step in STEPS if step.concludes)


class Transition(msgspec.Struct, frozen=True):
    """One arrow of the life cycle.

    Attributes:
        before: None where the deployment is made.
        outcome: the outcome it decides, "" for an arrow that decides none.
        actors: services and steps that may cause it.
        by: the SQL function that does it; nothing else writes these columns.
        guard: what the function makes sure of, in the same transaction.
    """

    before: State | None
    after: State
    outcome: str
    actors: tuple[str, ...]
    by: str
    guard: str


TRANSITIONS: tuple[Transition, ...] = (
    Transition(
        None,
        State.WAITING,
        "",
        ("gateway",),
        "accept_deployment",
        "the project is active and nobody holds its claim, or who does is cancelled for this one; quota is reserved",
    ),
    Transition(
        State.WAITING,
        State.ADMITTED,
        "",
        ("intake",),
        "admit_deployments",
        "a slot is free, of all and of the organisation; the project has none; nothing is paused",
    ),
    Transition(
        State.WAITING,
        State.FREED,
        "cancelled",
        ("gateway",),
        "end_deployment",
        "no outcome yet; nothing was started, so nothing is cleaned up; quota goes back",
    ),
    Transition(
        State.WAITING,
        State.FREED,
        "failed",
        ("reconciler",),
        "end_deployment",
        "no outcome yet; it waited for longer than MAX_WAITING_TIME; quota goes back",
    ),
    Transition(
        State.ADMITTED,
        State.ENDED,
        "completed",
        _CONCLUDING,
        "end_deployment",
        "no outcome yet; the public address was seen answering as the release, whose pointer is now confirmed",
    ),
    Transition(
        State.ADMITTED,
        State.ENDED,
        "failed",
        (*_WORKING, "dead-letter", "reconciler"),
        "end_deployment",
        "no outcome yet; an unconfirmed pointer goes back, and so does quota unless the author's build broke",
    ),
    Transition(
        State.ADMITTED,
        State.ENDED,
        "cancelled",
        ("gateway",),
        "end_deployment",
        "no outcome yet; an unconfirmed pointer and quota go back",
    ),
    Transition(
        State.ENDED,
        State.FREED,
        "",
        (CLEANUP.name,),
        "free_deployment",
        "it has an outcome, and the cleanup step has proven its sandbox dead",
    ),
)


def state_of(row: Row) -> State:
    """Return the state that a row is in."""
    if row["freed_at"] is not None:
        return State.FREED
    if row["outcome"] is not None:
        return State.ENDED
    return State.WAITING if row["admitted_at"] is None else State.ADMITTED


def may(before: State | None, after: State, actor: str, outcome: str = "") -> bool:
    """Whether an actor may move a deployment from one state to another in one step, with this outcome."""
    return any(
        (arrow.before, arrow.after, arrow.outcome) == (before, after, outcome) and actor in arrow.actors
        for arrow in TRANSITIONS
    )


def reachable(before: State | None) -> set[State]:
    """Return the states that a deployment may be in some time after `before`, itself among them."""
    found = set() if before is None else {before}
    ahead = [arrow.after for arrow in TRANSITIONS if arrow.before == before]
    while ahead:
        state = ahead.pop()
        if state not in found:
            found.add(state)
            ahead += [arrow.after for arrow in TRANSITIONS if arrow.before == state]
    return found


def violations(before: Iterable[Row], after: Iterable[Row]) -> list[str]:
    """Compare two looks at the table `deployment`; return a sentence for whatever could not come about by the book.

    Args:
        before: the rows at an earlier moment; none is fine.
        after: all the rows at a later one.
    """
    now = {row["id"]: row for row in after}
    found = [sentence for row in now.values() for sentence in _impossible(row)]
    found += _shared(now.values())
    for row in before:
        if row["id"] in now:
            found += _changed(row, now[row["id"]])
        else:
            found.append(f"{row['id']} is gone from the table")
    return found


def _impossible(row: Row) -> list[str]:
    """What one row says that contradicts itself."""
    found = []
    if row["outcome"] is not None and row["outcome"] not in OUTCOMES:
        found.append(f"{row['id']} has the unknown outcome {row['outcome']}")
    if (row["outcome"] is None) != (row["ended_at"] is None):
        found.append(f"{row['id']} has an outcome or a time of its end, not both")
    if row["freed_at"] is not None and row["outcome"] is None:
        found.append(f"{row['id']} is freed without an outcome")
    if row["admitted_at"] is None and row["outcome"] is not None and row["freed_at"] is None:
        found.append(f"{row['id']} ended while it waited and is not freed")
    if (row["outcome"] in ("failed", "cancelled")) != (row["failure"] is not None):
        found.append(f"{row['id']} has the outcome {row['outcome']} and the failure {row['failure']}")
    moments = [row[name] for name in ("accepted_at", "admitted_at", "ended_at", "freed_at") if row[name] is not None]
    if moments != sorted(moments):
        found.append(f"{row['id']} has its moments out of order: {', '.join(map(str, moments))}")
    return found


def _shared(rows: Iterable[Row]) -> list[str]:
    """What two deployments of one project may not hold both."""
    claims, slots = defaultdict(list), defaultdict(list)
    for row in rows:
        if row["outcome"] is None:
            claims[row["project_id"]].append(row["id"])
        if row["admitted_at"] is not None and row["freed_at"] is None:
            slots[row["project_id"]].append(row["id"])
    return [
        f"{' and '.join(sorted(ids))} of project {project} {what}"
        for what, held in (("have no outcome, all of them", claims), ("hold a slot each", slots))
        for project, ids in held.items()
        if len(ids) > 1
    ]


def _changed(before: Row, after: Row) -> list[str]:
    """What became of one deployment that may not become of any."""
    found = []
    if state_of(after) not in reachable(state_of(before)):
        found.append(f"{before['id']} went from {state_of(before)} to {state_of(after)}")
    decided = ("outcome", "failure", "release_id", "ended_at", "freed_at", "admitted_at")
    found += [
        f"{before['id']} had {name} {before[name]} and has {after[name]}"
        for name in decided
        if before[name] is not None and before[name] != after[name]
    ]
    return found
