"""When a delivery is tried again, when its endpoint is left alone, and when it is given up."""

import random
from dataclasses import dataclass

from shared.times import iso_time

FAILING = 3
"""After so many failed tries in a row an endpoint gets one message at a time, and pauses between them."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on. By default a message is tried 12 times in about 30 hours.

    Attributes:
        first_seconds: the wait after the first failed try; each next one is `factor` times as long.
        longest_seconds: no wait is longer.
        tries: of one message.
        longest_pause_seconds: of an endpoint that fails again and again.
        disabled_after_seconds: an endpoint that failed for so long without a success is switched off.
    """

    disabled_after_seconds: float
    first_seconds: float = 5.0
    factor: float = 4.0
    longest_seconds: float = 6 * 3600.0
    tries: int = 12
    longest_pause_seconds: float = 300.0

    def retry_seconds(self, tries: int, asked: float = 0.0) -> float | None:
        """Return how long to wait after so many tries, a fifth more or less; None when that was the last.

        `asked` is what the endpoint itself asked for, in seconds.
        """
        if tries >= self.tries:
            return None
        wait = min(self.longest_seconds, self.first_seconds * self.factor ** (tries - 1))
        return max(wait * random.uniform(0.8, 1.2), min(asked, self.longest_seconds))

    def pause_seconds(self, failures: int) -> float:
        """Return how long an endpoint is left alone after so many failed tries in a row: 1 s, 2 s, 4 s, …."""
        if failures < FAILING:
            return 0.0
        return min(self.longest_pause_seconds, 2.0 ** min(failures - FAILING, 30))

    def disabled_reason(self, failing_since: float | None, now: float, fault: str) -> str | None:
        """Return why a webhook that has failed since then is switched off, None when it is not."""
        if failing_since is None or now - failing_since < self.disabled_after_seconds:
            return None
        return f"Every try since {iso_time(failing_since)} failed; the last: {fault}"
