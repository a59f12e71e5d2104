"""Which file a path means, and which path a page is served at: Cloudflare's `html_handling`.

https://developers.cloudflare.com/workers/static-assets/routing/advanced/html-handling/
Each mode lists for a path, in order, what it may be answered with. Paths are decoded and begin with a slash.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from shared.hosting import HtmlHandling


class Serve(NamedTuple):
    """Answer with this file, if there is one."""

    file: str


class Move(NamedTuple):
    """Send to the path `to`, if this file is what is served there."""

    file: str
    to: str


Step = Serve | Move


def auto_trailing_slash(path: str) -> Iterator[Step]:
    """Serve `a.html` as `/a`, `a/index.html` as `/a/`."""
    if path.endswith("/index"):
        yield Serve(path)
        yield Move(f"{path}.html", path.removesuffix("index"))
        yield Move(f"{path.removesuffix('/index')}.html", path.removesuffix("/index"))
    elif path.endswith("/index.html"):
        yield Move(path, path.removesuffix("index.html"))
        yield Move(f"{path.removesuffix('/index.html')}.html", path.removesuffix("/index.html"))
    elif path.endswith("/"):
        yield Serve(f"{path}index.html")
        yield Move(f"{path[:-1]}.html", path[:-1])
    elif path.endswith(".html"):
        name = path.removesuffix(".html")
        yield Move(path, name)
        yield Move(f"{name}/index.html", f"{name}/")
    yield Serve(path)
    yield Serve(f"{path}.html")
    yield Move(f"{path}/index.html", f"{path}/")


def force_trailing_slash(path: str) -> Iterator[Step]:
    """Serve `a.html` and `a/index.html` as `/a/`."""
    if path.endswith("/index"):
        yield Serve(path)
        yield Move(f"{path}.html", path.removesuffix("index"))
        yield Move(f"{path.removesuffix('/index')}.html", path.removesuffix("index"))
    elif path.endswith("/index.html"):
        yield Move(path, path.removesuffix("index.html"))
        yield Move(f"{path.removesuffix('/index.html')}.html", path.removesuffix("index.html"))
    elif path.endswith("/"):
        yield Serve(f"{path}index.html")
        yield Serve(f"{path[:-1]}.html")
    elif path.endswith(".html"):
        folder = f"{path.removesuffix('.html')}/"
        yield Move(path, folder)
        yield Serve(path)
        yield Move(f"{folder}index.html", folder)
    yield Serve(path)
    yield Move(f"{path}.html", f"{path}/")
    yield Move(f"{path}/index.html", f"{path}/")


def drop_trailing_slash(path: str) -> Iterator[Step]:
    """Serve `a.html` and `a/index.html` as `/a`."""
    if path in ("/index", "/index.html"):
        yield from (Serve(path),) if path == "/index" else ()
        yield Move("/index.html", "/")
    elif path.endswith("/index"):
        folder = path.removesuffix("/index")
        yield Serve(path)
        yield Move(f"{folder}.html", folder)
        yield Move(f"{path}.html", folder)
    elif path.endswith("/index.html"):
        folder = path.removesuffix("/index.html")
        yield Move(path, folder)
        yield Serve(path)
        yield Move(f"{folder}.html", folder)
    elif path == "/":
        yield Serve("/index.html")
    elif path.endswith("/"):
        yield Move(f"{path[:-1]}.html", path[:-1])
        yield Move(f"{path}index.html", path[:-1])
    elif path.endswith(".html"):
        name = path.removesuffix(".html")
        yield Move(path, name)
        yield Move(f"{name}/index.html", name)
    yield Serve(path)
    yield Serve(f"{path}.html")
    yield Serve(f"{path}/index.html")


def none(path: str) -> Iterator[Step]:
    """Serve files by their own names alone."""
    yield Serve(path)


MODES: Mapping[HtmlHandling, Callable[[str], Iterator[Step]]] = {
    "auto-trailing-slash": auto_trailing_slash,
    "force-trailing-slash": force_trailing_slash,
    "drop-trailing-slash": drop_trailing_slash,
    "none": none,
}
