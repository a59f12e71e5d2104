"""What is deployed: which project, how often, with what in it, and what its owner does meanwhile."""

import random
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

import infra
from services.cli.benches.chaos.stack import ORGANIZATIONS
from services.cli.scan import scan
from shared.ports import Entry, Manifest

DEPLOYMENTS_A_PROJECT = 5
REAL_BUILDS = 1 / 40
SUPERSEDING = 0.08
CANCELLED = 0.04
_LONGEST_PAUSE_SECONDS = 10.0
"""Owners think, so that the load meets many faults also where the service is quick."""
_LONGEST_RUN_SECONDS = 1.0
"""A deployment that is to be replaced or cancelled runs for at most this long before."""
_DEMO = Path(infra.__path__[0]) / "demo" / "site"
_STATIC_PAGE = b"<!doctype html>\n<html>\n  <head>\n  </head>\n  <body>no-op</body>\n</html>\n"


@dataclass(frozen=True, slots=True)
class Order:
    """One deployment to be.

    Attributes:
        marker: a text that its page holds and no other one's.
        real: a Vite build; otherwise a page that needs no build.
        supersedes: posted while the one before it runs, which it replaces.
        cancelled_after: seconds after which its owner cancels it, None = never.
        pause: seconds to wait before it, after the end of the one before, or its start when that is replaced.
    """

    marker: str
    real: bool
    supersedes: bool
    cancelled_after: float | None
    pause: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The orders of one project, one after the other."""

    name: str
    organization: str
    orders: tuple[Order, ...]


def plan(count: int, seed: int) -> list[Plan]:
    """Spread `count` orders over projects; the same seed gives the same plan."""
    rng = random.Random(f"{seed}.orders")
    projects = max(3, count // DEPLOYMENTS_A_PROJECT)
    real = set(rng.sample(range(count), max(1, round(count * REAL_BUILDS))))
    orders: list[list[Order]] = [[] for _ in range(projects)]
    for number in range(count):
        mine = orders[number % projects]
        mine.append(_order(number, number in real, bool(mine), rng))
    return [
        Plan(f"chaos {number}", ORGANIZATIONS[number % len(ORGANIZATIONS)], tuple(mine))
        for number, mine in enumerate(orders)
    ]


def _order(number: int, real: bool, has_earlier: bool, rng: random.Random) -> Order:
    supersedes = has_earlier and rng.random() < SUPERSEDING
    cancelled = rng.random() < CANCELLED
    return Order(
        marker=f"order-{number}-{rng.getrandbits(64):016x}",
        real=real,
        supersedes=supersedes,
        cancelled_after=rng.uniform(0, _LONGEST_RUN_SECONDS) if cancelled else None,
        pause=rng.uniform(0, _LONGEST_RUN_SECONDS if supersedes else _LONGEST_PAUSE_SECONDS),
    )


def source_of(order: Order) -> tuple[Manifest, dict[str, bytes]]:
    """Return the tree of an order and the bytes of its digests; its page carries the marker."""
    contents = {"index.html": _STATIC_PAGE}
    if order.real:
        found = scan(_DEMO)
        contents = {path: found.paths[entry.digest].read_bytes() for path, entry in found.manifest.files.items()}
    marker = f'<head>\n    <meta name="zepid-chaos" content="{order.marker}" />'.encode()
    contents["index.html"] = contents["index.html"].replace(b"<head>", marker, 1)
    digests = {path: blake3(data).hexdigest() for path, data in contents.items()}
    files = {path: Entry(digests[path], len(contents[path])) for path in sorted(contents)}
    return Manifest(files), {digests[path]: data for path, data in contents.items()}
