"""The life of a custom domain: what each check makes of it, and when the next one is due.

    pending ──owned──▶ verified ──seen at our edge──▶ active
       │                   ▲                            │
       └─7 days─▶ failed   └────── not seen there ──────┘

From `verified` on the domain is served and may get a certificate. `active` says more: the domain was seen
answering as the site. Where that can't be seen from here, it stays `verified` and is served all the same.
Of a project on Cloudflare it is Cloudflare that is asked for the domain from `verified` on, and says that it is active.
"""

from typing import NamedTuple

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 3600.0
"""Between two tries the time doubles, from the first to the longest."""
ACTIVE_SECONDS = 6 * 3600.0
"""How often an active domain is looked at."""
GIVEN_UP_SECONDS = 7 * 86_400.0
"""How long ownership is looked for."""


class Next(NamedTuple):
    """What becomes of a domain: why it is no further, and the seconds until the next check, None for none."""

    state: str
    fault: str
    tries: int
    seconds: float | None


def after(state: str, fault: str, tries: int, asked_seconds: float) -> Next:
    """Return what a check makes of a domain.

    Args:
        state: as it was: pending, verified or active.
        fault: why a pending one is not seen to be owned, or another one not seen at our edge; "" if it is.
        tries: how many checks in this state have missed it before.
        asked_seconds: how long ownership has been looked for.
    """
    if fault:
        return _missed(state, fault, tries, asked_seconds)
    if state == "pending":
        return Next("verified", "", 0, 0.0)
    return Next("active", "", 0, ACTIVE_SECONDS)


def _missed(state: str, fault: str, tries: int, asked_seconds: float) -> Next:
    if state == "pending" and asked_seconds >= GIVEN_UP_SECONDS:
        return Next("failed", f"Given up after {GIVEN_UP_SECONDS / 86_400:.0f} days. {fault}", tries + 1, None)
    waiting = "pending" if state == "pending" else "verified"
    return Next(waiting, fault, tries + 1, min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(tries, 20)))
