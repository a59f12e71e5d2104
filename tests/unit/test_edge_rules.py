"""Rules of sites: what people may write must cost nobody else."""

import time

import pytest

from services.edge.header_rules import changed, changes, parse_headers
from services.edge.patterns import compile_pattern
from services.edge.redirect_rules import parse_redirects

LONG = "-" * 20_000
NAMES = "abcdefghijklmnopqrt"


@pytest.mark.parametrize(
    "address",
    [
        "/" + "-".join(f":{name}" for name in NAMES) + "/x",
        "/*" + "".join(f"/:{name}" for name in NAMES) + "/x",
        "/*-:a-:b-:c/x",
        "https://" + "".join(f":{name}" for name in NAMES) + "/x",
    ],
)
def test_no_pattern_takes_long(address: str) -> None:
    match = compile_pattern(address)
    assert match is not None
    started = time.process_time()
    for path in (f"/{LONG}", "/" + "-/" * 10_000, f"https://{LONG}/y"):
        assert match(path) is None
    assert time.process_time() - started < 1


def test_no_line_takes_long_to_read() -> None:
    started = time.process_time()
    assert not parse_redirects(("a" + " " * 1990 + "b\n") * 2000, "none").static
    assert not parse_headers("/x\n" + ("x" + " " * 1990 + ": \n") * 2000)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "line",
    ["Content-Length: 1", "Transfer-Encoding: chunked", "x-zepid-release: rel_2", "A: b\x00c", "A: b\rc", "Ä: b"],
)
def test_a_site_does_not_set_what_holds_the_connection_or_names_its_release(line: str) -> None:
    assert parse_headers(f"/*\n  {line}\n") == ()


def test_cookies_stay_apart() -> None:
    rules = parse_headers("/*\n  Set-Cookie: a=1\n/b\n  Set-Cookie: b=2\n")
    headers = changed([(b"etag", b"x")], changes(rules, "shop.test", "/b"))
    assert headers == [(b"etag", b"x"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]


@pytest.mark.parametrize("address", ["/:a/:a", "/:a-:a", "/*/*", "/:a/:ab", "/*/:splat"])
def test_names_are_taken_once(address: str) -> None:
    assert compile_pattern(address) is None
