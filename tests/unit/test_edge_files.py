"""Which file answers which path where a project does not say how; the rest is in the table of static assets."""

import pytest

from services.edge.files import Found, Moved, resolve
from services.edge.releases import Release
from services.edge.request import Request
from shared.ports import Entry
from tests.edge_world import nothing_comes

SITE = ("index.html", "about.html", "docs/index.html", "docs/guide.html", "both.html", "both/index.html", "v1.2/a.js")


def answer(path: str, *files: str, navigation: bool = True) -> str | tuple[str, int] | None:
    release = Release("rel_1", "shop", "acme", {name: Entry(name, 1) for name in files or SITE})
    headers = {b"sec-fetch-mode": b"navigate" if navigation else b"cors", b"accept": b"*/*"}
    match resolve(release, Request("GET", "shop", f"/{path}", b"", headers, {}, nothing_comes)):
        case Found(name, entry, status):
            assert entry.digest == name
            return name if status == 200 else (name, status)
        case Moved(to):
            return f"-> {to}"
    return None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "index.html"),
        ("index.html", "-> /"),
        ("about", "about.html"),
        ("about.html", "-> /about"),
        ("about/", "-> /about"),
        ("docs", "-> /docs/"),
        ("docs/", "docs/index.html"),
        ("docs/guide", "docs/guide.html"),
        ("docs/guide/", "-> /docs/guide"),
        ("both", "both.html"),
        ("both/", "both/index.html"),
        ("v1.2/a.js", "v1.2/a.js"),
    ],
)
def test_pages_are_found_by_their_addresses(path: str, expected: str) -> None:
    assert answer(path) == expected


@pytest.mark.parametrize("path", ["orders", "orders/17", "orders/17/", "missing.html", "docs/none", "release/v1.2"])
def test_a_navigation_to_nothing_gets_the_application(path: str) -> None:
    assert answer(path) == "index.html"
    assert answer(path, navigation=False) is None


@pytest.mark.parametrize("path", ["gone.js", "assets/gone.css", "a/b/c.woff2", "video.mp4", "data.7z", "favicon.ico"])
def test_a_missing_asset_never_gets_the_application(path: str) -> None:
    assert answer(path) is None


@pytest.mark.parametrize("path", ["a%5Cb", "a%00b", "%2e%2e%2fx", "a%2f..%2fb", ".well-known/none"])
def test_a_path_that_climbs_or_is_well_known_gets_no_application(path: str) -> None:
    assert answer(path) is None


def test_without_an_index_there_is_no_application() -> None:
    assert answer("", "readme.txt") is None
    assert answer("orders", "readme.txt") is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("gone", ("404.html", 404)),
        ("gone.js", ("404.html", 404)),
        ("docs/gone", ("docs/404.html", 404)),
        ("docs/a/b/gone.png", ("docs/404.html", 404)),
        ("docs/gone/", ("docs/404.html", 404)),
        ("a%5Cb", ("404.html", 404)),
        ("404", "404.html"),
    ],
)
def test_the_nearest_404_page_answers_what_is_missing(path: str, expected: object) -> None:
    assert answer(path, "index.html", "404.html", "docs/index.html", "docs/404.html", navigation=False) == expected
