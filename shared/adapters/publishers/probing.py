"""Looking at an address until it answers as a release, and saying why it did not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import httpx

from shared.adapters.publishers.page import Page
from shared.contracts.errors import ZepidError
from shared.release_header import NOTICE_HEADER, RELEASE_HEADER

MOST_REDIRECTS = 5
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.05
_PARALLEL = 8


class Seen(NamedTuple):
    """What an address answered last; status 0 where nothing did.

    Attributes:
        fault: what is wrong with the page, a file that it needs among it.
        trouble: why nothing answered.
        notice: what the edge said instead of an answer.
    """

    status: int
    release: str = ""
    empty: bool = True
    fault: str = ""
    trouble: str = ""
    notice: str = ""

    def is_live_as(self, release: str) -> bool:
        """Whether it is a page of the release."""
        return 200 <= self.status < 300 and self.release == release and not self.empty and not self.fault

    def is_final(self, release: str) -> bool:
        """Whether asking again cannot help: a release never changes."""
        unusable = self.status < 300 and (self.empty or bool(self.fault))
        return self.release == release and (400 <= self.status < 500 or unusable)


def seen_in(answer: httpx.Response) -> Seen:
    """Return what an answer shows."""
    return Seen(
        answer.status_code,
        answer.headers.get(RELEASE_HEADER, ""),
        empty=not answer.content.strip(),
        notice=answer.headers.get(NOTICE_HEADER, ""),
    )


async def look_closer(
    seen: Seen, answer: httpx.Response, url: str, site: str, ask: Callable[[str], Awaitable[Seen]]
) -> Seen:
    """Look at what a page of HTML shows, and at the scripts and style sheets that it needs of its own site.

    Args:
        seen: what was seen of the answer so far.
        answer: the page's.
        url: where the answer came from.
        site: the site's address; what lies outside of it is not looked at.
        ask: asks for one of those files.
    """
    if not answer.is_success or seen.empty or "text/html" not in answer.headers.get("content-type", ""):
        return seen
    page = Page(answer.text, url)
    if not page.shows:
        return seen._replace(fault="is a blank page")
    needed = [address for address in page.references if address.startswith(site)]
    for start in range(0, len(needed), _PARALLEL):
        some = needed[start : start + _PARALLEL]
        for address, found in zip(some, await asyncio.gather(*map(ask, some)), strict=True):
            if not (200 <= found.status < 300 and found.release == seen.release):
                return _without(seen, address, found)
    return seen


def _without(seen: Seen, address: str, found: Seen) -> Seen:
    answered = found.trouble or f"answered {found.status}" + ("" if found.release == seen.release else " elsewhere")
    fault = f"needs {address}, which the release does not have ({answered})"
    away = found.status == 0 or found.status >= 500
    return seen._replace(status=503 if away else seen.status, fault=fault)


async def probe_until(
    url: str,
    release: str,
    ask: Callable[[str], Awaitable[Seen]],
    *,
    within: float,
    longest_pause: float = LONGEST_PAUSE,
) -> None:
    """Ask for an address until it answers 2xx as the release, with a body.

    Args:
        url: the address.
        release: the release.
        ask: asks once.
        within: seconds.
        longest_pause: seconds between two questions, which come fast at first.

    Raises:
        ZepidError: RELEASE_PROBE_FAILED, the release answered and is not a page (said at once if it
            cannot change); PUBLISH_FAILED, nothing or something else was served until the end.
    """
    seen = Seen(0, trouble="no answer in time")
    try:
        async with asyncio.timeout(within):
            pause = FIRST_PAUSE
            while True:
                seen = await ask(url)
                if seen.is_live_as(release):
                    return
                if seen.is_final(release):
                    break
                await asyncio.sleep(pause)
                pause = min(longest_pause, pause * 1.5)
    except TimeoutError:
        pass
    raise _not_live(url, release, seen)


def _not_live(url: str, release: str, seen: Seen) -> ZepidError:
    if seen.status == 0:
        return ZepidError("PUBLISH_FAILED", f"{url} was not served: {seen.trouble}")
    if seen.release != release:
        instead = f"release {seen.release}" if seen.release else "no release"
        return ZepidError("PUBLISH_FAILED", f"{url} answered {seen.status} as {instead}, not as {release}")
    if seen.fault:
        return ZepidError("RELEASE_PROBE_FAILED", f"{url} answered as {release}, but {seen.fault}")
    if seen.status == 404:
        return ZepidError(
            "RELEASE_PROBE_FAILED",
            f"{url} answered 404: the output has no index.html at its top. "
            "Write one there, or set the output directory to the folder that has it",
        )
    what = "without a body" if seen.empty and seen.status < 300 else "instead of a page"
    why = f": {seen.notice}" if seen.notice else ""
    return ZepidError("RELEASE_PROBE_FAILED", f"{url} answered {seen.status} {what} as {release}{why}")
