"""Answers without a file: redirections, notices, health; and the headers that all share."""

from functools import lru_cache
from typing import NamedTuple

from services.edge.files import Found
from services.edge.pages import Notice, render
from services.edge.releases import Release
from services.edge.request import Request
from services.edge.responses import IMMUTABLE, REVALIDATE, Headers, kind_of
from shared.release_header import RELEASE_HEADER

_RELEASE = RELEASE_HEADER.encode()


class Answer(NamedTuple):
    """Status, headers and body."""

    status: int
    headers: Headers
    body: bytes = b""


def common_headers(release: str | None, path_form: bool) -> Headers:
    """What every answer says: its release; and, in the path form, that sites must not trust each other."""
    headers: Headers = [(b"x-content-type-options", b"nosniff")]
    if release is not None:
        headers.append((_RELEASE, release.encode()))
    if path_form:
        headers.append((b"content-security-policy", b"sandbox allow-scripts allow-forms allow-popups allow-modals"))
        headers.append((b"access-control-allow-origin", b"*"))
    return headers


@lru_cache(maxsize=8192)
def file_headers(release: str, found: Found, encoding: bytes, path_form: bool) -> tuple[bytes, Headers]:
    """Return the entity tag of a file as it is sent, and the headers that do not tell of the body's form."""
    kind = kind_of(found.path)
    digest = found.entry.digest
    tag = f'"{digest}-{encoding.decode()}"' if encoding else f'"{digest}"'
    headers = [
        (b"content-type", kind.content_type),
        (b"cache-control", IMMUTABLE if kind.hashed and found.status == 200 else REVALIDATE),
        *common_headers(release, path_form),
    ]
    if kind.compressible:
        vary = b"accept-encoding, accept, sec-fetch-mode" if found.negotiated else b"accept-encoding"
        headers.append((b"vary", vary))
    if found.status == 200:
        headers.append((b"etag", tag.encode()))
    return tag.encode(), headers


def redirect(to: str, request: Request, release: Release | None = None) -> Answer:
    """Send the client to a relative address, its query kept."""
    location = to.encode() + (b"?" + request.query if request.query else b"")
    headers = [(b"location", location), (b"cache-control", REVALIDATE), (b"content-length", b"0")]
    return Answer(307, [*headers, *common_headers(release and release.id, request.path_form)])


def say(notice: Notice, request: Request, release: Release | None = None) -> Answer:
    """Say it as a page or as JSON."""
    request_id = request.id
    content_type, body = render(notice, request.headers.get(b"accept", b""), request_id)
    headers: Headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"vary", b"accept"),
        (b"x-request-id", request_id.encode()),
        *common_headers(release and release.id, request.path_form),
    ]
    if notice.status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    if notice.status == 503:
        headers.append((b"retry-after", b"2"))
    return Answer(notice.status, headers, body)


def text(said: str) -> Answer:
    """Say a word to a program."""
    body = said.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    return Answer(200, [*headers, (b"content-length", b"%d" % len(body))], body)


def healthy() -> Answer:
    """Say that the process answers."""
    body = b'{"status":"healthy"}'
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    return Answer(200, [*headers, (b"content-length", b"%d" % len(body))], body)
