"""`_headers`: what a site adds to its answers, and takes from them.

https://developers.cloudflare.com/workers/static-assets/headers/
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from services.edge.patterns import MOST_CHARACTERS, Pattern, compile_pattern, fill, has_port, read_address
from services.edge.responses import Headers
from shared.release_header import RELEASE_HEADER

MOST_RULES = 100
"""Paths; what follows is ignored."""
_PATH = re.compile(r"\S+://|/")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", RELEASE_HEADER}
"""Of the connection, or how a release is recognised: never a site's."""


class HeaderRule(NamedTuple):
    """Headers by lower-case name: those that are set, with `:splat` and placeholders in them; those that go."""

    pattern: Pattern
    absolute: bool
    sets: dict[str, str]
    unsets: tuple[str, ...]


class Change(NamedTuple):
    """What one rule does to one answer."""

    sets: dict[str, str]
    unsets: tuple[str, ...]


def parse_headers(text: str) -> tuple[HeaderRule, ...]:
    """Read a file; lines that say nothing are passed over. A later rule of the same path replaces the earlier one."""
    rules: dict[str, HeaderRule] = {}
    for path, lines in _sections(text):
        pattern = compile_pattern(path)
        sets, unsets = _read_headers(lines)
        if pattern and (sets or unsets):
            rules[path] = HeaderRule(pattern, not path.startswith("/"), sets, unsets)
    return tuple(rules.values())


def changes(rules: Iterable[HeaderRule], hostname: str, path: str) -> list[Change]:
    """Return what the rules of an address do, in their order."""
    found = []
    for rule in rules:
        values = rule.pattern(f"https://{hostname}{path}" if rule.absolute else path)
        if values is not None:
            found.append(Change({name: fill(value, values) for name, value in rule.sets.items()}, rule.unsets))
    return found


def changed(headers: Headers, made: Iterable[Change]) -> Headers:
    """Return headers with the changes made: the first rule that sets a header replaces it, later ones add to it."""
    values = {name: [value] for name, value in headers}
    replaced: set[bytes] = set()
    for change in made:
        for unset in change.unsets:
            values.pop(unset.encode(), None)
        for name, value in ((name.encode(), value.encode()) for name, value in change.sets.items()):
            values[name] = [*values.get(name, ()), value] if name in replaced else [value]
            replaced.add(name)
    cookies = [(b"set-cookie", cookie) for cookie in values.pop(b"set-cookie", ())]
    return [(name, b", ".join(parts)) for name, parts in values.items()] + cookies


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each usable path with the lines below it, up to the most there may be."""
    path, below, count = "", list[str](), 0
    for line in filter(_says_something, map(str.strip, text.removeprefix("\ufeff").split("\n"))):
        if not _PATH.match(line):
            below.append(line)
            continue
        if path and below:
            yield path, below
            count += 1
        if count == MOST_RULES:
            return
        path, below = _read_path(line), []
    if path and below:
        yield path, below


def _says_something(line: str) -> bool:
    return bool(line) and not line.startswith("#") and len(line) <= MOST_CHARACTERS


def _read_path(line: str) -> str:
    """Return the path of a rule; "" when it can't be one: a port, two splats, or a splat beside `:splat`."""
    path = read_address(line) or ""
    splats = path.count("*") + (re.search(r":splat(?!\w)", path, re.ASCII) is not None)
    return "" if has_port(line) or splats > 1 else path


def _read_headers(lines: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    sets: dict[str, str] = {}
    unsets: list[str] = []
    for line in lines:
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon and line.startswith("! "):
            unsets.append(line[2:].strip().lower())
        elif value and _NAME.fullmatch(name := name.lower()) and name not in _OURS and not _CONTROL.search(value):
            sets[name] = f"{sets[name]}, {value}" if name in sets else value
    return sets, tuple(unset for unset in unsets if unset not in _OURS)
