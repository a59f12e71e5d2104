"""Which file answers which path."""

import pytest

from services.edge.files import Found, Moved, resolve
from shared.ports import Entry

SITE = ("index.html", "about.html", "docs/index.html", "docs/guide.html", "both.html", "both/index.html", "v1.2/a.js")


def answer(path: str, *files: str, navigation: bool = True) -> str | tuple[str, int] | None:
    found = resolve({name: Entry(name, 1) for name in files or SITE}, path, navigation=navigation)
    match found:
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
        ("index.html", "index.html"),
        ("about", "about.html"),
        ("about.html", "about.html"),
        ("about/", "-> ../about"),
        ("docs", "-> ./docs/"),
        ("docs/", "docs/index.html"),
        ("docs/guide", "docs/guide.html"),
        ("docs/guide/", "-> ../guide"),
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


@pytest.mark.parametrize("path", ["../x", "a/../b", "./a", "a//b", "/etc", "a\\b", "a\0b", "..", "."])
def test_a_path_that_climbs_gets_nothing(path: str) -> None:
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
        ("../gone", ("404.html", 404)),
        ("404", "404.html"),
    ],
)
def test_the_nearest_404_page_answers_what_is_missing(path: str, expected: object) -> None:
    assert answer(path, "index.html", "404.html", "docs/index.html", "docs/404.html", navigation=False) == expected


def test_an_address_that_is_given_back_is_encoded() -> None:
    assert answer("über uns", "über uns/index.html") == "-> ./%C3%BCber%20uns/"
    assert answer("a:b", "a:b/index.html") == "-> ./a%3Ab/"
