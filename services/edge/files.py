"""What a release answers a path with, in Cloudflare's order: redirects, files, what is missing, methods, spelling."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from services.edge.html_handling import MODES, Move, Serve
from services.edge.redirect_rules import REWRITE, location
from services.edge.releases import Release
from services.edge.request import Request
from services.edge.urls import decode_path, encode_path, split_target, url_path, url_query
from shared.hosting import HtmlHandling
from shared.ports import Entry

_EXTENSION = re.compile(r"\.([A-Za-z][A-Za-z0-9]{0,9}|7z|3gp)$")
_PAGES = ("html", "htm")


class Found(NamedTuple):
    """A file to send, with the status to send it with.

    Attributes:
        fallback: whether nothing has the path, and the file stands in for it.
        negotiated: whether another kind of request would have got another answer.
    """

    path: str
    entry: Entry
    status: int = 200
    fallback: bool = False
    negotiated: bool = False


class Moved(NamedTuple):
    """The answer lies elsewhere: a path of the site, or a whole address."""

    to: str
    status: int = 307


class Refused(NamedTuple):
    """There is something at the path, but not for this method."""

    method: str


Outcome = Found | Moved | Refused | None


def resolve(release: Release, request: Request) -> Outcome:
    """Find the answer to a request; None where the release has none."""
    query = f"?{url_query(request.query)}" if request.query else ""
    rule = release.redirects.find(request.path)
    if rule and rule.status != REWRITE:
        return Moved(location(rule.target, query), rule.status)
    spelled = url_path(split_target(rule.target)[0]) if rule else request.path
    path = decode_path(spelled)
    found = find(release.files, release.html_handling, path) or missing(release, path, request)
    if found and request.method not in ("GET", "HEAD"):
        return Refused(request.method)
    if isinstance(found, Moved):
        return Moved(encode_path(found.to) + query)
    return Moved(encode_path(path) + query) if found and encode_path(path) != spelled else found


def find(files: Mapping[str, Entry], mode: HtmlHandling, path: str) -> Found | Moved | None:
    """Return the file that a decoded path means, or the path at which that file is served."""
    for step in MODES[mode](path):
        entry = _entry(files, step.file)
        if entry is None:
            continue
        if isinstance(step, Serve):
            return Found(step.file[1:], entry)
        if _is_served_at(files, mode, step, entry):
            return Moved(step.to)
    return None


def _is_served_at(files: Mapping[str, Entry], mode: HtmlHandling, move: Move, entry: Entry) -> bool:
    """Whether a move ends at the file: no other has the path itself, and none is in front of it there."""
    if _entry(files, move.to):
        return False
    there = (_entry(files, step.file) for step in MODES[mode](move.to) if isinstance(step, Serve))
    first = next(filter(None, there), None)
    return first is not None and first.digest == entry.digest


def missing(release: Release, path: str, request: Request) -> Found | None:
    """Return what stands in for a file that is not there, by the release's `not_found_handling`."""
    match release.not_found_handling:
        case "single-page-application":
            return _application(release.files)
        case "404-page":
            return _nearest_404(release.files, path)
        case "none":
            return None
    return _nearest_404(release.files, path) or _navigation(release.files, path, request)


def _application(files: Mapping[str, Entry]) -> Found | None:
    entry = files.get("index.html")
    return Found("index.html", entry, fallback=True) if entry else None


def _nearest_404(files: Mapping[str, Entry], path: str) -> Found | None:
    folder = path
    while folder:
        folder = folder.rpartition("/")[0]
        if entry := _entry(files, f"{folder}/404.html"):
            return Found(f"{folder}/404.html"[1:], entry, 404, fallback=True)
    return None


def _navigation(files: Mapping[str, Entry], path: str, request: Request) -> Found | None:
    """Return the application, which then routes by itself, where a person goes to what does not look like a file."""
    if looks_like_asset(path) or not _is_plain(path) or path.startswith("/.well-known/") or not request.is_navigation:
        return None
    found = _application(files)
    return found._replace(negotiated=True) if found else None


def looks_like_asset(path: str) -> bool:
    """Whether the path ends in a file extension other than a page's."""
    extension = _EXTENSION.search(path)
    return extension is not None and extension[1].lower() not in _PAGES


def _is_plain(path: str) -> bool:
    """Whether no part of the path tries to climb."""
    return not any(part in (".", "..") for part in path.split("/")) and "\\" not in path and "\0" not in path


def _entry(files: Mapping[str, Entry], path: str) -> Entry | None:
    return files.get(path[1:]) if path.startswith("/") else None
