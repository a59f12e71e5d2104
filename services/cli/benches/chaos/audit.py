"""What must be true of the database, the journal and the streams when everything is over."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from services.cli.benches.chaos.explained import explanation
from services.cli.benches.chaos.facts import Facts
from services.cli.benches.chaos.load import Load
from services.cli.benches.chaos.stack import UNITS
from shared.contracts.events import Ended, Succeeded
from shared.pipeline import CLEANUP

LEAST_COMPLETED = 0.95
_LOGGING = ("validate", "sync", "build", "deploy")
"""Steps that write at least one line whenever they succeed."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be; `subject` is a deployment, a site or a place."""

    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}"


def audit(facts: Facts, load: Load, struck: set[str]) -> list[Violation]:
    """Check everything that needs no further question; `struck` names the faults there were."""
    return [
        *_accepted(facts, load),
        *_outcomes(facts, load, struck),
        *_releases(facts),
        *_pointers(facts),
        *_quota(facts),
        *_streams(facts),
        *_letters(facts),
        *_logs(facts),
    ]


def _accepted(facts: Facts, load: Load) -> Iterator[Violation]:
    """Nothing is lost: all that was accepted is recorded, over, and shown as what it is."""
    rows = {row["id"]: row for row in facts.deployments}
    for deployment_id in load.sent.keys() - rows.keys():
        yield Violation(deployment_id, "was accepted and is not recorded")
    for row in facts.deployments:
        if row["outcome"] is None:
            yield Violation(row["id"], "has no outcome")
        if row["freed_at"] is None:
            yield Violation(row["id"], "still holds its slot")
        if row["shown_outcome"] != row["outcome"] or not row["shown_finished"]:
            yield Violation(row["id"], f"is {row['outcome']} and shown as {row['shown_outcome']}")
        sent = load.sent.get(row["id"])
        if sent and sent.shown and sent.shown != row["outcome"]:
            yield Violation(row["id"], f"was shown {sent.shown} over HTTP and is {row['outcome']}")


def _outcomes(facts: Facts, load: Load, struck: set[str]) -> Iterator[Violation]:
    """One outcome each, the same everywhere; failures have a fault behind them, and there are few."""
    wanted, completed = 0, 0
    for row in facts.deployments:
        told = {event.outcome for event in facts.events.get(row["id"], []) if isinstance(event, Ended)}
        if told != {row["outcome"]}:
            yield Violation(row["id"], f"is {row['outcome']} and the journal says {sorted(told) or 'nothing'}")
        sent = load.sent.get(row["id"])
        if row["outcome"] == "cancelled" and sent and not sent.called_off:
            yield Violation(row["id"], "was cancelled though nobody asked for it")
        if row["outcome"] == "failed":
            code = row["failure"]["code"]
            if not explanation(code, struck):
                yield Violation(row["id"], f"failed with {code}, which no fault explains: {row['failure']['message']}")
        if row["outcome"] != "cancelled":
            wanted += 1
            completed += row["outcome"] == "completed"
    if wanted and completed < LEAST_COMPLETED * wanted:
        yield Violation("all", f"only {completed} of {wanted} completed, at least {LEAST_COMPLETED:.0%} must")


def _releases(facts: Facts) -> Iterator[Violation]:
    for row in facts.deployments:
        if row["releases"] > 1:
            yield Violation(row["id"], f"was released {row['releases']} times")
        if row["outcome"] == "completed" and (row["release"] is None or row["release"] != row["release_id"]):
            yield Violation(row["id"], f"completed as {row['release_id']}, its release is {row['release']}")


def newest_completed(facts: Facts) -> dict[str, dict[str, Any]]:
    """Return the row of the newest completed deployment of each project."""
    return {row["project_id"]: row for row in facts.deployments if row["outcome"] == "completed"}


def _pointers(facts: Facts) -> Iterator[Violation]:
    newest = newest_completed(facts)
    for site in facts.sites:
        row = newest.get(site["project_id"])
        wanted = row["release_id"] if row else None
        if site["release_id"] != wanted:
            yield Violation(site["name"], f"points at {site['release_id']}, the newest completed one is {wanted}")
        elif wanted and not site["confirmed"]:
            yield Violation(site["name"], f"points at {wanted} as if it had not been seen live")


def _quota(facts: Facts) -> Iterator[Violation]:
    """Each deployment took one unit once; it was kept only by those that went live or broke by themselves."""
    entries = {entry["deployment_id"]: entry for entry in facts.ledger}
    spent: Counter[str] = Counter()
    for row in facts.deployments:
        entry = entries.get(row["id"])
        if entry is None:
            yield Violation(row["id"], "has no entry in the quota ledger")
            continue
        its_own = row["outcome"] == "failed" and row["failure"]["class"] == "user"
        wanted = "committed" if row["outcome"] == "completed" or its_own else "returned"
        if entry["settled"] != wanted:
            yield Violation(row["id"], f"its unit of quota is {entry['settled']}, must be {wanted}")
        spent[entry["plan"]] += entry["settled"] != "returned"
    for plan in facts.plans:
        left = UNITS - spent[plan["id"]]
        if plan["deploy_limit"] != left:
            yield Violation(plan["id"], f"the plan has {plan['deploy_limit']} units left, the ledger says {left}")


def _streams(facts: Facts) -> Iterator[Violation]:
    for subject in facts.queued:
        yield Violation(subject.rpartition(".")[2], f"{subject} is still queued")
    for consumer, count in facts.unacknowledged.items():
        if count:
            yield Violation(consumer, f"{count} deliveries of the queue were never answered")


def _letters(facts: Facts) -> Iterator[Violation]:
    outcomes = {row["id"]: row["outcome"] for row in facts.deployments}
    for letter in facts.letters:
        if not letter.errors:
            yield Violation(letter.deployment_id, f"its dead letter ({letter.actor}) gives no error")
        if letter.actor != CLEANUP.name and outcomes.get(letter.deployment_id) is None:
            yield Violation(letter.deployment_id, f"has a dead letter ({letter.actor}) and no outcome")


def _logs(facts: Facts) -> Iterator[Violation]:
    """Every attempt that succeeded has its lines, and no chunk between two is missing."""
    for deployment_id, events in facts.events.items():
        chunks = facts.chunks.get(deployment_id, [])
        written = {(chunk.step, chunk.attempt) for chunk in chunks}
        for event in events:
            if isinstance(event, Succeeded) and event.actor in _LOGGING and (event.actor, event.attempt) not in written:
                yield Violation(deployment_id, f"the log of {event.actor}, attempt {event.attempt}, is missing")
        last: dict[tuple[str, int], int] = {}
        for chunk in chunks:
            before = last.get((chunk.step, chunk.attempt), -1)
            if chunk.number not in (0, before + 1) and chunk.number > before:
                yield Violation(deployment_id, f"the log of {chunk.step} has a hole before chunk {chunk.number}")
            last[chunk.step, chunk.attempt] = max(before, chunk.number)
