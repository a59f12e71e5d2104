"""What matters of a request."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote
from uuid import uuid4

from services.edge.urls import url_path
from shared.adapters.publishers.addresses import parse_name
from shared.asgi import Receive, Scope
from shared.zero_copy import EXTENSION

PATH_FORM = "/_sites/"
_ID_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=")


class Request(NamedTuple):
    """One request.

    Attributes:
        name: the site, or a release in front of its site; None where the address names none.
        path: as a URL has it: encoded, with its leading slash, without the path form's prefix.
        headers: by lower-case name.
        path_form: whether the path named the site, not the host.
        unclosed: whether it did so without a slash at its end, where relative links go astray.
        scope, receive: the request as the server gave it, with the way to its body.
    """

    method: str
    name: str | None
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    scope: Scope
    receive: Receive
    path_form: bool = False
    unclosed: bool = False

    @property
    def takes_files(self) -> bool:
        """Whether the server sends open files by itself."""
        return EXTENSION in self.scope.get("extensions", ())

    @property
    def names_release(self) -> bool:
        """Whether the address is that of one release, which only those know who are told."""
        return self.name is not None and parse_name(self.name)[1] is not None

    @property
    def host(self) -> str:
        """The `Host` header."""
        return self.headers.get(b"host", b"").decode("latin-1")

    @property
    def hostname(self) -> str:
        """The host without its port, in lower case."""
        return self.host.partition(":")[0].lower().removesuffix(".")

    @property
    def prefix(self) -> str:
        """What stands in front of the site's own paths."""
        return f"{PATH_FORM}{quote(self.name or '')}" if self.path_form else ""

    def at_root(self) -> "Request":
        """Return the request as one of a site that has its host for itself, where no path names another."""
        if not self.path_form:
            return self
        path = self.prefix + ("" if self.unclosed else self.path)
        return self._replace(path=path, path_form=False, unclosed=False)

    @property
    def id(self) -> str:
        """The client's `X-Request-Id` if it can be shown again, else a new one."""
        given = self.headers.get(b"x-request-id", b"")
        return given.decode() if 0 < len(given) <= 255 and _ID_CHARACTERS.issuperset(given) else str(uuid4())

    @property
    def is_navigation(self) -> bool:
        """Whether a person goes there: what the browser says, else the kind of answer that is taken."""
        accept = self.headers.get(b"accept", b"*/*")
        mode = self.headers.get(b"sec-fetch-mode")
        return mode == b"navigate" or b"text/html" in accept or (mode is None and b"*/*" in accept)


def read_request(scope: Scope, receive: Receive, suffixes: tuple[str, ...]) -> Request:
    """Read a request, whose host names a site if it ends with one of the suffixes."""
    headers = dict(scope["headers"])
    method, path, query = scope["method"], url_path(scope["raw_path"]), scope["query_string"]
    host = headers.get(b"host", b"").decode("latin-1").partition(":")[0].lower()
    for suffix in suffixes:
        if host.endswith(suffix):
            return Request(method, host[: -len(suffix)], path, query, headers, scope, receive)
    if not path.startswith(PATH_FORM):
        return Request(method, None, path, query, headers, scope, receive)
    name, slash, rest = path[len(PATH_FORM) :].partition("/")
    return Request(method, unquote(name), f"/{rest}", query, headers, scope, receive, True, not slash)
