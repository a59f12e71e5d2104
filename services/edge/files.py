"""Which file of a release answers a path."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from shared.ports import Entry

_EXTENSION = re.compile(r"\.([A-Za-z][A-Za-z0-9]{0,9}|7z|3gp)$")
_PAGES = ("html", "htm")


class Found(NamedTuple):
    """A file to send, with the status to send it with.

    Attributes:
        negotiated: whether another kind of request would have got another answer.
    """

    path: str
    entry: Entry
    status: int = 200
    negotiated: bool = False


class Moved(NamedTuple):
    """The page has another address, given relative to the one asked for."""

    to: str


def resolve(files: Mapping[str, Entry], path: str, *, navigation: bool) -> Found | Moved | None:
    """Find the file for a path.

    The file itself; a folder's `index.html`; a page without its `.html`; else the nearest `404.html`
    upwards, with status 404; else, for a navigation to something that does not look like an asset,
    the root's `index.html`, which is then an application that routes by itself.

    Args:
        files: the release's files by path.
        path: decoded, without the leading slash. It is only ever compared with the release's own
            paths, so it can lead nowhere else.
        navigation: whether a person goes to this address, as opposed to a page fetching it.
    """
    if (exact := files.get(path)) is not None:
        return Found(path, exact)
    return _page(files, path) or _missing(files, path, navigation)


def _page(files: Mapping[str, Entry], path: str) -> Found | Moved | None:
    if path == "" or path.endswith("/"):
        index = f"{path}index.html"
        if index in files:
            return Found(index, files[index])
        name = path[:-1]
        return Moved(f"../{_last(name)}") if name and f"{name}.html" in files else None
    if f"{path}.html" in files:
        return Found(f"{path}.html", files[f"{path}.html"])
    return Moved(f"./{_last(path)}/") if f"{path}/index.html" in files else None


def _missing(files: Mapping[str, Entry], path: str, navigation: bool) -> Found | None:
    folder = path
    while folder:
        folder = folder.rpartition("/")[0]
        page = f"{folder}/404.html" if folder else "404.html"
        if page in files:
            return Found(page, files[page], 404)
    if looks_like_asset(path) or not _is_plain(path) or "index.html" not in files:
        return None
    return Found("index.html", files["index.html"], negotiated=True) if navigation else None


def looks_like_asset(path: str) -> bool:
    """Whether the path ends in a file extension other than a page's."""
    extension = _EXTENSION.search(path)
    return extension is not None and extension[1].lower() not in _PAGES


def _is_plain(path: str) -> bool:
    """Whether no part of the path is empty or tries to climb."""
    parts = path.removesuffix("/").split("/")
    return not any(part in ("", ".", "..") for part in parts) and "\\" not in path and "\0" not in path


def _last(path: str) -> str:
    return quote(path.rpartition("/")[2])
