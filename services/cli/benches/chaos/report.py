"""What a run amounts to, as text and as JSON."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec

from services.cli.benches.chaos.audit import Violation
from services.cli.benches.chaos.facts import Facts, Row
from services.cli.benches.chaos.faults import FAULTS, Struck
from services.cli.benches.chaos.load import Load
from services.cli.benches.chaos.stack import RAISED, REPLICAS
from shared.contracts.events import Refused, Reissued


class Spread(msgspec.Struct, frozen=True):
    """Seconds: the median, 99 of 100, the longest."""

    p50: float
    p99: float
    max: float


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The figures of a run.

    Attributes:
        deployments: recorded ones, more than were ordered where an answer was lost.
        unanswered: requests that broke off, and were made again.
        refused: requests answered with 429 or 5xx, and made again.
        failures: by code.
        faults: by kind.
        left_out: kinds of fault that could not be made here, with the reason.
        recovery: from each fault to the next progress of each deployment that was in the pipeline then.
        over_after: seconds from the last fault until everything was over.
        standstill: per deployment, the longest time between two of its events.
        repairs: what the reconciler mended, by kind.
        tidied: half-made folders of killed processes, which it removes after some minutes.
    """

    seed: int
    seconds: float
    ordered: int
    deployments: int
    outcomes: dict[str, int]
    failures: dict[str, int]
    lost_answers: int
    unanswered: int
    refused: int
    faults: dict[str, int]
    left_out: dict[str, str]
    recovery: Spread
    over_after: float
    standstill: Spread
    repairs: dict[str, int]
    tidied: int
    dead_letters: dict[str, int]
    raised: str
    violations: list[str]


def make_report(
    *,
    seed: int,
    seconds: float,
    load: Load,
    facts: Facts,
    struck: Sequence[Struck],
    left_out: dict[str, str],
    over_after: float,
    tidied: int,
    violations: Sequence[Violation],
) -> Report:
    """Count."""
    return Report(
        seed=seed,
        seconds=round(seconds, 1),
        ordered=load.total,
        deployments=len(facts.deployments),
        outcomes=_counted(str(row["outcome"]) for row in facts.deployments),
        failures=_counted(row["failure"]["code"] for row in facts.deployments if row["outcome"] == "failed"),
        lost_answers=load.lost_answers + len(facts.deployments) - len(load.sent),
        unanswered=load.api.unanswered,
        refused=load.api.refused,
        faults=_counted(fault.name for fault in struck),
        left_out=left_out,
        recovery=spread([seconds for row in facts.deployments for seconds in _recoveries(facts, row, struck)]),
        over_after=round(over_after, 1),
        standstill=spread([seconds for row in facts.deployments for seconds in _standstill(facts, row)]),
        repairs=facts.repairs,
        tidied=tidied,
        dead_letters=_counted(f"{letter.actor} {letter.reason}" for letter in facts.letters),
        raised=", ".join(
            [*(f"{name.upper()}={value}" for name, value in RAISED.items())]
            + [f"{count} processes of {name}" for name, count in REPLICAS.items()]
        ),
        violations=[str(violation) for violation in violations],
    )


def spread(seconds: Sequence[float]) -> Spread:
    """Return the median, 99 of 100, and the longest."""
    ordered = sorted(seconds) or [0.0]

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)

    return Spread(at(0.5), at(0.99), at(1.0))


def as_text(report: Report) -> str:
    """Return the report for people."""
    outcomes, failures = _listed(report.outcomes), _listed(report.failures)
    lines = [
        f"{report.ordered} ordered, {report.deployments} recorded: {outcomes}"
        + (f" (failed with {failures})" if failures else ""),
        f"clients        {report.lost_answers} answers lost, {report.unanswered} requests broken off,"
        f" {report.refused} answered 429 or 5xx; all made again",
        f"faults         {_listed(report.faults) or 'none'}",
        *(f"left out       {FAULTS[name].what}: {why}" for name, why in report.left_out.items()),
        f"recovery       {_seconds(report.recovery)} from a fault to the next progress of what was running",
        f"               all over {report.over_after} s after the last fault",
        f"standstill     {_seconds(report.standstill)} the longest pause of each deployment",
        f"repairs        {_listed(report.repairs) or 'none'}; {report.tidied} half-made folders tidied",
        f"dead letters   {_listed(report.dead_letters) or 'none'}",
        f"limits raised  {report.raised}",
        f"seed           {report.seed}, {report.seconds:.0f} s",
    ]
    verdict = "audit          clean" if not report.violations else f"VIOLATIONS     {len(report.violations)}"
    return "\n".join([*lines, verdict, *(f"  {violation}" for violation in report.violations)])


def _recoveries(facts: Facts, row: Row, struck: Sequence[Struck]) -> Iterator[float]:
    """From each fault that hit the deployment in the pipeline to the next thing that happened to it."""
    progress = _progress(facts, row)
    for fault in struck:
        later = [moment - fault.began for moment in progress if moment > fault.began]
        if later and len(later) < len(progress):
            yield min(later)


def _standstill(facts: Facts, row: Row) -> list[float]:
    """The longest time between two things that happened to the deployment."""
    gaps = [later - earlier for earlier, later in pairwise(_progress(facts, row))]
    return [max(gaps)] if gaps else []


def _progress(facts: Facts, row: Row) -> list[float]:
    """When something happened to the deployment, from its admission on, as the journal tells."""
    events = facts.events.get(row["id"], [])
    return sorted(event.at for event in events if not isinstance(event, Reissued | Refused))


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _seconds(found: Spread) -> str:
    return f"p50 {found.p50} s, p99 {found.p99} s, max {found.max} s"
