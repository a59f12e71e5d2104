"""Addresses in `_headers` and `_redirects`: paths with a splat (`*`) and placeholders (`:name`).

They are other people's: none may take longer than its length and the path's.
"""

import re
from collections.abc import Callable, Mapping

import re2  # type: ignore[import-untyped]

from services.edge.urls import split_target, url_path, url_query

MOST_CHARACTERS = 2000
"""In a line; longer ones are ignored."""

PLACEHOLDER = re.compile(r":([A-Za-z]\w*)", re.ASCII)
_GROUP = re.compile(r"\(\?P<(\w+)>")
_ABSOLUTE = re.compile(r"https://+(?P<host>[^/]+)/?(?P<path>.*)")
_WITH_PORT = re.compile(r".*:\d+", re.ASCII)

Pattern = Callable[[str], dict[str, str] | None]
"""Takes a whole address; returns what the splat and the placeholders stand for in it, None where it is another."""


def is_dynamic(path: str) -> bool:
    """Whether more than one address is meant."""
    return "*" in path or PLACEHOLDER.search(path) is not None


def compile_pattern(address: str) -> Pattern | None:
    """Return what matches whole addresses; None when a placeholder has the name of another.

    A splat takes anything, a placeholder anything up to the next `/`, in a host up to the next `.`, too.
    """
    expression = "(?P<splat>.*)".join(map(re.escape, address.split("*")))
    host = address.split("/")[2] if address.startswith("https://") else ""
    for name in PLACEHOLDER.findall(host):
        expression = expression.replace(f":{name}", f"(?P<{name}>[^/.]+)")
    for name in PLACEHOLDER.findall(expression):
        expression = expression.replace(f":{name}", f"(?P<{name}>[^/]+)")
    names = _GROUP.findall(expression)
    if len(names) > len(set(names)):
        return None
    compiled = (re if _is_simple(address) else re2).compile(expression)

    def match(asked: str) -> dict[str, str] | None:
        found = compiled.fullmatch(asked)
        return found.groupdict() if found else None

    return match


def _is_simple(address: str) -> bool:
    """Whether no segment has two parts that vary, so that Python's engine, the faster one, can't be led astray."""
    return all(part.count("*") + len(PLACEHOLDER.findall(part)) < 2 for part in address.split("/"))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put what a pattern took into a template."""
    for name, value in values.items():
        template = template.replace(f":{name}", value)
    return template


def read_address(written: str, *, with_query: bool = False) -> str | None:
    """Return a path or an `https://` address as a URL has it; None for anything else."""
    absolute = _ABSOLUTE.match(written)
    if absolute is None and not written.startswith("/"):
        return None
    path, query, fragment = split_target(absolute["path"] if absolute else written)
    origin = f"https://{absolute['host']}" if absolute else ""
    rest = url_query(query) + fragment[:1] + url_query(fragment[1:]) if with_query else ""
    return origin + url_path(path if path.startswith("/") else f"/{path}", turned=False) + rest


def has_port(written: str) -> bool:
    """Whether an absolute address names a port."""
    absolute = _ABSOLUTE.match(written)
    return absolute is not None and _WITH_PORT.fullmatch(absolute["host"]) is not None


def is_absolute(written: str) -> bool:
    """Whether an address names its host."""
    return _ABSOLUTE.match(written) is not None
