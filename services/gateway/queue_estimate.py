"""When a waiting deployment will probably start."""

import time

import msgspec

from shared.adapters.postgres.overview import Overview
from shared.settings import Settings

_KEPT_SECONDS = 2.0


class QueuePlace(msgspec.Struct, frozen=True):
    """Where a waiting deployment stands.

    Attributes:
        queue_position: how many will be admitted before it, plus one.
        place: the same within its organisation.
        running: how many hold a slot.
        running_of_one: how many of its organisation do.
        paused: its organisation or everyone is paused, so that it does not start.
    """

    queue_position: int
    place: int
    running: int
    running_of_one: int
    paused: bool


class QueueEstimate:
    """Rounds of the slots until a deployment's turn x the median of recent durations, which is kept for 2 seconds."""

    def __init__(self, overview: Overview, settings: Settings) -> None:
        self._overview = overview
        self._slots = settings.max_concurrent_deployments
        self._slots_of_one = settings.max_concurrent_per_organization
        self._median: float | None = None
        self._read_at = float("-inf")

    async def seconds(self, place: QueuePlace | None) -> int | None:
        """Return the seconds until the deployment starts; None when it does not wait, is paused or nothing tells."""
        if place is None or place.paused:
            return None
        if time.monotonic() - self._read_at > _KEPT_SECONDS:
            self._median = await self._overview.median_seconds()
            self._read_at = time.monotonic()
        return None if self._median is None else round(self._median * self._rounds(place))

    def _rounds(self, place: QueuePlace) -> float:
        """Return how often the slots turn over first: all of them, and those its organisation may hold."""
        in_all = (place.queue_position - (self._slots - place.running)) / self._slots
        own = (place.place - (self._slots_of_one - place.running_of_one)) / self._slots_of_one
        return max(0.0, in_all, own)
