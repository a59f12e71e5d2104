"""Paths as a browser's URL parser writes them, decoded, and encoded again.

The rules are those of the URL standard (https://url.spec.whatwg.org), so that an address is read here as it is in
every browser and by Cloudflare.
"""

import re
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

_KEPT_IN_PATH = "!$%&'()*+,-./:;=@[\\]_|~"
_KEPT_IN_QUERY = "!$%&()*+,-./:;=?@[\\]^_`{|}~"
_KEPT_IN_COMPONENT = "!~*'()"
_ONE_DOT = (".", "%2e")
_TWO_DOTS = ("..", ".%2e", "%2e.", "%2e%2e")
_MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SLASHES = re.compile("/+")


@lru_cache(maxsize=4096)
def url_path(raw: bytes | str, *, turned: bool = True) -> str:
    """Return the path of a URL: dot segments resolved, backslashes `turned`, what must be encoded encoded."""
    quoted = quote(raw, safe=_KEPT_IN_PATH)
    segments = (quoted.replace("\\", "/") if turned else quoted).removeprefix("/").split("/")
    path: list[str] = []
    for segment in segments:
        if segment.lower() in _TWO_DOTS:
            del path[-1:]
        elif segment.lower() not in _ONE_DOT:
            path.append(segment)
    if segments[-1].lower() in (*_ONE_DOT, *_TWO_DOTS):
        path.append("")
    return "/" + "/".join(path)


def url_query(text: bytes | str) -> str:
    """Return a query or a fragment as a URL carries it."""
    return quote(text, safe=_KEPT_IN_QUERY)


@lru_cache(maxsize=4096)
def decode_path(path: str) -> str:
    """Decode a path by its segments, of which a malformed one stays as it is; several slashes are one."""
    return _SLASHES.sub("/", "/".join(map(_decode, path.split("/"))))


def _decode(segment: str) -> str:
    if _MALFORMED.search(segment):
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return segment


@lru_cache(maxsize=4096)
def encode_path(path: str) -> str:
    """Encode a decoded path, the only way in which it is served: other spellings are sent there."""
    return "/".join(quote(segment, safe=_KEPT_IN_COMPONENT) for segment in path.split("/"))


def split_target(target: str) -> tuple[str, str, str]:
    """Split into what is in front, the query with its `?` and the fragment with its `#`; "" where there is none."""
    front, hash_, fragment = target.partition("#")
    path, mark, query = front.partition("?")
    return path, mark + query if query else "", hash_ + fragment if fragment else ""
