"""Which methods a path has: what `Allow` says."""

import re
from functools import lru_cache

from litestar import Litestar
from litestar.routes import HTTPRoute

_PARAMETER = re.compile(r"\{\w+:(\w+)\}")
_PATTERNS = {"path": ".+", "int": r"-?\d+"}


def methods_at(app: Litestar, path: str) -> list[str]:
    """Return the methods that may be asked for at a path, none where there is nothing."""
    methods = {
        method for pattern, found in _routes(app) if pattern.fullmatch(path.rstrip("/") or "/") for method in found
    }
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)


@lru_cache(maxsize=8)
def _routes(app: Litestar) -> list[tuple[re.Pattern[str], set[str]]]:
    return [(_pattern(route.path), set(route.methods)) for route in app.routes if isinstance(route, HTTPRoute)]


def _pattern(template: str) -> re.Pattern[str]:
    parts = _PARAMETER.split(template)
    texts = [re.escape(part) if place % 2 == 0 else _PATTERNS.get(part, "[^/]+") for place, part in enumerate(parts)]
    return re.compile("".join(texts))
