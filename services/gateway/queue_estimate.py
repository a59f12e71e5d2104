"""When a waiting deployment will probably start."""

import time

from shared.adapters.postgres.overview import Overview

_KEPT_SECONDS = 10.0


class QueueEstimate:
    """Place in the queue × recent median duration ÷ slots; the median is kept for a few seconds."""

    def __init__(self, overview: Overview, slots: int) -> None:
        self._overview = overview
        self._slots = slots
        self._median: float | None = None
        self._read_at = float("-inf")

    async def seconds(self, position: int) -> int | None:
        """Return the seconds until the deployment at `position` (from 1) starts; None when unknown."""
        if time.monotonic() - self._read_at > _KEPT_SECONDS:
            self._median = await self._overview.median_seconds()
            self._read_at = time.monotonic()
        return None if self._median is None else round(self._median * position / self._slots)
