"""What the edge says itself: pages for people, JSON for programs, the same words in both."""

import html
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from shared.contracts.errors import ZepidError


class Notice(NamedTuple):
    """Something the edge has to say instead of sending a file.

    Attributes:
        error: a few words, also the page's heading.
        message: what happened and what to do.
    """

    status: int
    error: str
    message: str


def unknown_address(host: str, pattern: str) -> Notice:
    """The host names no site."""
    example = pattern.replace("{site}", "<site>")
    return Notice(404, "No site here", f"{host or 'This address'} names no site. Sites answer at {example}.")


def unknown_site(site: str) -> Notice:
    """There is no such site."""
    return Notice(404, "Site not found", f"There is no site {site}. Check the name, or deploy it first.")


def nothing_live(site: str) -> Notice:
    """The site is known and has no release."""
    return Notice(404, "Nothing live yet", f"{site} has no release yet. It appears here when a deployment completes.")


def unknown_release(site: str, release: str) -> Notice:
    """The site has no such release."""
    return Notice(404, "Release not found", f"{site} has no release {release}. Check the id.")


def not_found(site: str, path: str) -> Notice:
    """The release has no file for the path."""
    if path == "/":
        return Notice(404, "Page not found", f"{site} has no index.html. Add one to the output, or open another path.")
    return Notice(404, "Page not found", f"{site} has nothing at {path}. Check the address.")


def method_not_allowed(method: str) -> Notice:
    """Files can only be read."""
    return Notice(405, "Method not allowed", f"{method} is not possible here: sites are read by GET and HEAD.")


def unavailable(message: str) -> Notice:
    """A dependency is away."""
    return Notice(503, "Temporarily unavailable", f"This site cannot be read now: {message}. Try again in a moment.")


def worker_trouble(error: ZepidError, *, told: bool) -> Notice:
    """The site's Worker did not answer; `told` says what the Worker itself said last, which is for its author."""
    message = f"{error.message[:1].upper()}{error.message[1:]}."
    if told and error.excerpt:
        message += f" It said: {error.excerpt}"
    return Notice(error.code.status, "The Worker of this site did not answer", message)


def defect() -> Notice:
    """We are to blame."""
    return Notice(500, "Something went wrong", "The edge could not answer. The operator finds it by the request id.")


def render(notice: Notice, accept: bytes, request_id: str) -> tuple[bytes, bytes]:
    """Return content type and body: HTML where the client takes it, else JSON."""
    if b"text/html" in accept:
        return b"text/html; charset=utf-8", _page(notice)
    return b"application/json", _json(notice, request_id)


def _json(notice: Notice, request_id: str) -> bytes:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode(
        {
            "success": False,
            "error": notice.error,
            "message": notice.message,
            "timestamp": at,
            "requestId": request_id,
        }
    )


def _page(notice: Notice) -> bytes:
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(notice.error)}</title>
<style>
  :root {{ color-scheme: light dark; font: 16px/1.6 system-ui, sans-serif; }}
  body {{ min-height: 90vh; margin: 0; display: grid; place-content: center; padding: 2rem; }}
  p {{ max-width: 34rem; margin: 0; overflow-wrap: anywhere; }}
  h1 {{ font-size: 1.6rem; margin: 0 0 .5rem; }}
  small {{ opacity: .6; margin-top: 1.5rem; }}
</style>
<h1>{html.escape(notice.error)}</h1>
<p>{html.escape(notice.message)}</p>
<small>{notice.status} · Zepid Deploy</small>
""".encode()
