"""The service at a glance: how many deployments stand where, how they end, how long the steps take."""

import time

import msgspec

from services.gateway.status import word_of
from shared.adapters.postgres.overview import Overview, StepTime
from shared.pipeline import STEPS

_KEPT_SECONDS = 3.0
_MOST_KEPT = 1_000


class Share(msgspec.Struct, frozen=True, rename="camel"):
    """Deployments that ended in a window; `success_rate` is the completed part of completed and failed, 0 to 1."""

    completed: int
    failed: int
    cancelled: int
    success_rate: float | None


class Times(msgspec.Struct, frozen=True):
    """How long a step took in a window, milliseconds; None where it did not run."""

    count: int = 0
    p50: int | None = None
    p95: int | None = None


class Windows(msgspec.Struct, frozen=True, rename="camel"):
    """One step's times in the last hour and in the last day."""

    last_hour: Times
    last_day: Times


class Glance(msgspec.Struct, frozen=True, rename="camel"):
    """The figures of one organisation, or of all.

    Attributes:
        running: hold a slot.
        waiting: are not admitted yet.
        totals: status word → how many there are.
        steps: step → how long it took.
    """

    running: int
    waiting: int
    totals: dict[str, int]
    last_hour: Share
    last_day: Share
    steps: dict[str, Windows]


class Glances:
    """Figures that are kept for 3 seconds, so that many who look cost one look."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview
        self._kept: dict[str | None, tuple[float, Glance]] = {}

    async def of(self, organization_id: str | None) -> Glance:
        """Return the figures of an organisation, with None of all."""
        kept = self._kept.get(organization_id)
        if kept is None or time.monotonic() - kept[0] > _KEPT_SECONDS:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            kept = self._kept[organization_id] = time.monotonic(), await self._read(organization_id)
        return kept[1]

    async def _read(self, organization_id: str | None) -> Glance:
        overview = self._overview
        totals: dict[str, int] = {}
        for total in await overview.totals(organization_id):
            word = word_of(total.stage, total.finished, total.outcome)
            totals[word] = totals.get(word, 0) + total.count
        ended = await overview.ended(organization_id)
        times = {(time.step, time.window): time for time in await overview.step_times(organization_id)}
        return Glance(
            running=await overview.running_of(organization_id),
            waiting=sum(row.waiting for row in await overview.waiting(organization_id)),
            totals=totals,
            last_hour=_share({row.outcome: row.hour for row in ended}),
            last_day=_share({row.outcome: row.day for row in ended}),
            steps={
                step.name: Windows(_times(times.get((step.name, "hour"))), _times(times.get((step.name, "day"))))
                for step in STEPS
            },
        )


def _share(counts: dict[str, int]) -> Share:
    completed, failed = counts.get("completed", 0), counts.get("failed", 0)
    judged = completed + failed
    rate = round(completed / judged, 4) if judged else None
    return Share(completed, failed, counts.get("cancelled", 0), rate)


def _times(found: StepTime | None) -> Times:
    return Times(found.count, round(found.p50), round(found.p95)) if found else Times()
