"""Who answers a request of a release that has a Worker: the Worker, or the files beside it."""

import re
from collections.abc import Iterable
from functools import lru_cache

from services.edge.files import resolve
from services.edge.releases import Release
from services.edge.request import Request
from shared.hosting import Hosting

_NAVIGATION_DATE = "2025-04-01"


def is_for_worker(release: Release, request: Request) -> bool:
    """Whether the Worker answers, as Cloudflare decides it.

    First come the rules of `run_worker_first`. Then files win over the Worker; what stands in for a missing file
    does only where a person goes to a page, and the compatibility date is not older than that rule.
    """
    if release.hosting.worker is None:
        return False
    if release.hosting.assets is None:
        return True
    first = release.hosting.assets.run_worker_first
    if first is True:
        return True
    if first and (chosen := _chosen(first, request.path)) is not None:
        return chosen
    goes_to_page = request.method in ("GET", "HEAD") and request.headers.get(b"sec-fetch-mode") == b"navigate"
    stands_in = goes_to_page and _prefers_files(release.hosting)
    seen = release if stands_in else release._replace(not_found_handling="none")
    return resolve(seen, request) is None


def _prefers_files(hosting: Hosting) -> bool:
    flags = hosting.compatibility_flags
    by_date = hosting.compatibility_date >= _NAVIGATION_DATE and "assets_navigation_has_no_effect" not in flags
    return by_date or "assets_navigation_prefers_asset_serving" in flags


def _chosen(rules: tuple[str, ...], path: str) -> bool | None:
    """Whether the rules give a path to the Worker, or (`!`) to the files; None where they are silent."""
    to_worker, to_files = _compiled(rules)
    if to_files and to_files.fullmatch(path):
        return False
    return True if to_worker and to_worker.fullmatch(path) else None


@lru_cache(maxsize=1024)
def _compiled(rules: tuple[str, ...]) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    to_files = [rule[1:] for rule in rules if rule.startswith("!")]
    return _any_of(rule for rule in rules if not rule.startswith("!")), _any_of(to_files)


def _any_of(rules: Iterable[str]) -> re.Pattern[str] | None:
    patterns = [".*".join(map(re.escape, rule.split("*"))) for rule in rules]
    return re.compile("|".join(patterns), re.DOTALL) if patterns else None
