"""Answers: a file, its part, a redirection, a notice; and the headers that all share."""

from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import BinaryIO, NamedTuple, TypedDict

from services.edge.contents import Chunk
from services.edge.files import Found, Moved
from services.edge.header_rules import Change, changed
from services.edge.pages import Notice, render
from services.edge.ranges import Part
from services.edge.releases import Release
from services.edge.request import Request
from services.edge.responses import (
    IMMUTABLE,
    REVALIDATE,
    SMALLEST_COMPRESSED,
    Headers,
    encoding_for,
    kind_of,
)
from shared.release_header import NOTICE_HEADER, RELEASE_HEADER

_RELEASE = RELEASE_HEADER.encode()
_NOTICE = NOTICE_HEADER.encode()
_CONTROLS = bytes([*range(32), 127])
_LONGEST_NOTICE = 1000
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_SANDBOX = (b"content-security-policy", b"sandbox allow-scripts allow-forms allow-popups allow-modals")


class FileMessage(TypedDict):
    """A part of an open file, as `http.response.zerocopysend` takes it."""

    type: str
    file: BinaryIO
    offset: int
    count: int


class Answer(NamedTuple):
    """Status, headers and body.

    Attributes:
        body: all of it, or the first of it.
        fixed: headers that a site's own rules do not change.
        rest: what follows, as it comes from the object store.
        file: the body instead, as the message that lets the server send an open file.
    """

    status: int
    headers: Headers
    body: Chunk = b""
    fixed: Sequence[tuple[bytes, bytes]] = ()
    rest: AsyncIterator[Chunk] | None = None
    file: FileMessage | None = None

    def finished(self, release: Release | None, changes: Sequence[Change], path_form: bool) -> "Answer":
        """Return it as it is sent: with the site's rules applied, and naming its release.

        In the path form all sites share an origin, so they must not trust each other.
        """
        headers = [_NOSNIFF, *self.headers]
        if path_form:
            headers.append((b"access-control-allow-origin", b"*"))
        if changes:
            headers = changed(headers, changes)
        if release is not None:
            headers.append((_RELEASE, release.id.encode()))
        if path_form:
            headers.append(_SANDBOX)
        return Answer(self.status, [*headers, *self.fixed], self.body, (), self.rest, self.file)

    def of_worker(self, release: Release, path_form: bool) -> "Answer":
        """Return an answer of the release's Worker as it is sent: the Worker's own, naming its release."""
        shared = [(b"access-control-allow-origin", b"*"), _SANDBOX] if path_form else []
        return self._replace(headers=[*self.headers, (_RELEASE, release.id.encode()), *shared])


class Form(NamedTuple):
    """In what form a file is sent, and what it depends on.

    Attributes:
        encoding: `br`, `zstd`, `gzip`, or b"" as it is.
        cacheable: whether a cache may keep it; not what was asked for with a credential, nor a part.
        in_parts: whether a part was asked for, which is one of the file as it is.
        hashed_forever: whether what has a hash in its name is said never to change.
    """

    encoding: bytes
    cacheable: bool
    in_parts: bool
    hashed_forever: bool


def form_of(found: Found, release: Release, request: Request, changes: Sequence[Change]) -> Form:
    """Choose the form of a file for a request; a site whose rules name an encoding has encoded its files itself."""
    ranged = b"range" in request.headers
    in_parts = ranged and found.status == 200 and request.method == "GET"
    encoding = b""
    if found.entry.size >= SMALLEST_COMPRESSED and kind_of(found.path).compressible and not in_parts:
        encoding = encoding_for(request.headers.get(b"accept-encoding", b""))
    if any("content-encoding" in change.sets for change in changes):
        encoding = b""
    cacheable = not ranged and b"authorization" not in request.headers
    return Form(encoding, cacheable, in_parts, release.unconfigured and not found.fallback)


@lru_cache(maxsize=8192)
def file_headers(found: Found, form: Form) -> tuple[bytes, Headers, Headers]:
    """Return the entity tag of a file as it is sent, the headers that a site may change, and those it may not."""
    kind = kind_of(found.path)
    digest = found.entry.digest
    tag = (f'"{digest}-{form.encoding.decode()}"' if form.encoding else f'"{digest}"').encode()
    headers = [(b"etag", tag), (b"accept-ranges", b"bytes")]
    if kind.content_type:
        headers.append((b"content-type", kind.content_type))
    if form.cacheable:
        headers.append((b"cache-control", IMMUTABLE if kind.hashed and form.hashed_forever else REVALIDATE))
    varies = [b"accept-encoding"] if kind.compressible else []
    varies += [b"accept", b"sec-fetch-mode"] if found.negotiated else []
    return tag, headers, [(b"vary", b", ".join(varies))] if varies else []


def whole(form: Form, status: int, headers: Headers, fixed: Headers, body: Chunk, size: int) -> Answer:
    """Send a file of so many bytes as it is sent: all of it, or nothing yet."""
    encoded = [(b"content-encoding", form.encoding)] if form.encoding else []
    return Answer(status, headers, body, [*fixed, *encoded, (b"content-length", b"%d" % size)])


def partial(headers: Headers, fixed: Headers, body: Chunk, size: int, part: Part) -> Answer:
    """Send a part of a file, or nothing of it yet; or say that it has none of these bytes."""
    said = [*fixed, (b"content-range", part.content_range(size))]
    if part.is_empty:
        return Answer(416, headers, b"", [*said, (b"content-length", b"0")])
    length = (b"content-length", b"%d" % (part.end - part.start))
    return Answer(206, headers, body[part.start : part.end], [*said, length])


def redirect(moved: Moved, request: Request) -> Answer:
    """Send the client elsewhere."""
    to = request.prefix + moved.to if moved.to.startswith("/") and not moved.to.startswith("//") else moved.to
    return Answer(moved.status, [(b"location", to.encode())], b"", [(b"content-length", b"0")])


def say(notice: Notice, request: Request) -> Answer:
    """Say it as a page or as JSON, and to probes in a header."""
    request_id = request.id
    content_type, body = render(notice, request.headers.get(b"accept", b""), request_id)
    headers = [
        (b"content-type", content_type),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode()),
        (_NOTICE, notice.message.encode("ascii", "backslashreplace").translate(None, _CONTROLS)[:_LONGEST_NOTICE]),
    ]
    if notice.status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    if notice.status == 503:
        headers.append((b"retry-after", b"2"))
    return Answer(notice.status, headers, body, [(b"vary", b"accept"), (b"content-length", b"%d" % len(body))])


def text(said: str, status: int = 200) -> Answer:
    """Say a word to a program."""
    return _said(b"text/plain; charset=utf-8", said.encode(), status)


def healthy() -> Answer:
    """Say that the process answers."""
    return _said(b"application/json", b'{"status":"healthy"}')


def _said(content_type: bytes, body: bytes, status: int = 200) -> Answer:
    headers = [(b"content-type", content_type), (b"cache-control", b"no-store")]
    return Answer(status, [*headers, (b"content-length", b"%d" % len(body))], body)
