"""`_redirects`: addresses that have moved, and addresses that answer with the file of another.

https://developers.cloudflare.com/workers/static-assets/redirects/
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from services.edge.patterns import (
    MOST_CHARACTERS,
    Pattern,
    compile_pattern,
    fill,
    is_absolute,
    is_dynamic,
    read_address,
)
from services.edge.urls import split_target, url_path
from shared.hosting import HtmlHandling

MOST_STATIC = 2000
MOST_DYNAMIC = 100
"""Rules; further ones are ignored. A rule without splat or placeholder below one that has some counts as dynamic."""
REWRITE = 200
_STATUSES = {"200": REWRITE, "301": 301, "302": 302, "303": 303, "307": 307, "308": 308}
_INDEX = re.compile(r".*/index(.html)?")
_SLASHES = re.compile(r"[/\\]+")


class Rule(NamedTuple):
    """One line: where it leads, and by which status; `REWRITE` serves it without telling."""

    source: str
    target: str
    status: int


class Redirects(NamedTuple):
    """The rules without splat or placeholder that come first, by path; then the others, in order."""

    static: Mapping[str, Rule] = {}
    dynamic: tuple[tuple[Pattern, Rule], ...] = ()

    def find(self, path: str) -> Rule | None:
        """Return the rule of a path, its target filled in."""
        if rule := self.static.get(path):
            return rule
        for pattern, rule in self.dynamic:
            if (values := pattern(path)) is not None:
                return rule._replace(target=_filled(rule.target, values))
        return None


def parse_redirects(text: str, html_handling: HtmlHandling) -> Redirects:
    """Read a file; lines that are no rules, repeat a path or would run in a circle are passed over."""
    static: dict[str, Rule] = {}
    dynamic: dict[str, Rule] = {}
    counted = 0
    in_front = True
    for source, target, status in _lines(text):
        in_front = in_front and not is_dynamic(source)
        counted += not in_front
        if counted > MOST_DYNAMIC:
            break
        rule = _read_rule(source, target, status)
        if rule and source not in static and source not in dynamic and not _runs_in_a_circle(rule, html_handling):
            if not in_front:
                dynamic[source] = rule
            elif len(static) < MOST_STATIC:
                static[source] = rule
    compiled = ((compile_pattern(source), rule) for source, rule in dynamic.items())
    return Redirects(static, tuple((pattern, rule) for pattern, rule in compiled if pattern))


def location(target: str, query: str) -> str:
    """Return where a target leads: a path or a whole address, with its own query (`?…`), else the request's."""
    front, own_query, fragment = split_target(target)
    if is_absolute(front):
        host, slash, path = front.removeprefix("https://").partition("/")
        front = f"https://{host.lower()}{slash}{path}"
    elif not front.startswith("//"):
        front = url_path(front)
    return front + (own_query or query) + fragment


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield source, target and status of each line that could be a rule."""
    for line in map(str.strip, text.removeprefix("\ufeff").split("\n")):
        if len(line) > MOST_CHARACTERS or line.startswith("#"):
            continue
        tokens = _without_comment(line.split())
        if len(tokens) not in (2, 3) or is_absolute(tokens[0]):
            continue
        source = read_address(tokens[0] if tokens[0].startswith("/") else f"/{tokens[0]}")
        if source is not None:
            yield source, tokens[1], tokens[2] if len(tokens) == 3 else "302"


def _without_comment(tokens: list[str]) -> list[str]:
    return tokens[: next((at for at, token in enumerate(tokens) if token.startswith("#")), None)]


def _read_rule(source: str, written: str, status: str) -> Rule | None:
    target = read_address(written, with_query=True)
    code = _STATUSES.get(status)
    if target is None or code is None or (code == REWRITE and is_absolute(target)):
        return None
    return Rule(source, target, code)


def _runs_in_a_circle(rule: Rule, html_handling: HtmlHandling) -> bool:
    """Whether the page it leads to is sent back to a path of the rule, for `/index.html` is served as `/`."""
    if is_absolute(rule.target) or not _INDEX.fullmatch(rule.target):
        return False
    return rule.source.endswith("/*") or (rule.source.endswith("/") and html_handling != "none")


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Fill a target; what is put in can't make a path lead to another host."""
    target = fill(template, values)
    if is_absolute(template) or template.startswith("//"):
        return target
    path, query, fragment = split_target(target)
    return _SLASHES.sub("/", path) + query + fragment
