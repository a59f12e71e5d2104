"""Types, encodings, caching."""

import asyncio
import base64
import hashlib

import pytest

from services.edge.cache import Cache
from services.edge.request import read_request
from services.edge.responses import is_hashed, kind_of
from tests.edge_world import nothing_comes


@pytest.mark.parametrize(
    ("path", "content_type", "compressible"),
    [
        ("index.html", "text/html; charset=utf-8", True),
        ("a/B.JS", "text/javascript; charset=utf-8", True),
        ("site.webmanifest", "application/manifest+json", True),
        ("icon.svg", "image/svg+xml", True),
        ("app.wasm", "application/wasm", True),
        ("photo.webp", "image/webp", False),
        ("font.woff2", "font/woff2", False),
        ("LICENSE", "", False),
        ("folder.js/file", "", False),
    ],
)
def test_the_type_follows_the_extension(path: str, content_type: str, compressible: bool) -> None:
    kind = kind_of(path)
    assert (kind.content_type.decode(), kind.compressible) == (content_type, compressible)


def test_nearly_every_bundler_hash_is_recognised() -> None:
    digests = [hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(1000)]
    vite = [f"assets/index-{base64.urlsafe_b64encode(digest)[:8].decode()}.js" for digest in digests]
    hexadecimal = [f"assets/img/logo.{digest.hex()[:20]}.svg" for digest in digests]
    assert sum(map(is_hashed, vite)) >= 980
    assert all(map(is_hashed, hexadecimal))


@pytest.mark.parametrize(
    "path",
    [
        "assets/team-portrait.jpg",
        "assets/Photo-Holidays.png",
        "assets/IMG-20240115.jpg",
        "assets/scan-IMG_1234.jpg",
        "assets/shot-screen01.png",
        "assets/logo.svg",
        "images/index-B7xK2_ab.js",
        "index-B7xK2_ab.js",
    ],
)
def test_names_of_people_are_no_hashes(path: str) -> None:
    assert not is_hashed(path)


@pytest.mark.parametrize(
    ("headers", "navigation"),
    [
        ({}, True),
        ({"accept": "text/html,application/xhtml+xml"}, True),
        ({"accept": "*/*"}, True),
        ({"accept": "*/*", "sec-fetch-mode": "navigate"}, True),
        ({"accept": "text/html", "sec-fetch-mode": "cors"}, True),
        ({"accept": "*/*", "sec-fetch-mode": "cors"}, False),
        ({"accept": "application/json"}, False),
    ],
)
def test_a_navigation_is_known_by_its_headers(headers: dict[str, str], navigation: bool) -> None:
    assert request(**headers).is_navigation is navigation


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("shop.localhost:3080", "shop"),
        ("SHOP.localhost", "shop"),
        ("shop.sites.test", "shop"),
        ("rel-1.shop.sites.test:80", "rel-1.shop"),
        ("127.0.0.1:3080", None),
        ("localhost:3080", None),
        ("", None),
    ],
)
def test_a_host_names_a_site_by_its_suffix(host: str, name: str | None) -> None:
    assert request(host=host).name == name


def test_a_request_id_is_kept_if_it_is_harmless() -> None:
    assert request(**{"x-request-id": "a-b_c=1"}).id == "a-b_c=1"
    assert request(**{"x-request-id": "<script>"}).id != "<script>"
    assert request().id != request().id


def request(path: str = "/", **headers: str):
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"method": "GET", "raw_path": path.encode(), "query_string": b"", "headers": raw}
    return read_request(scope, nothing_comes, (".sites.test", ".localhost"))


async def test_the_cache_loads_once_for_all_who_wait() -> None:
    cache: Cache[str, bytes] = Cache(100, len)
    loads = 0
    go = asyncio.Event()

    async def load() -> bytes:
        nonlocal loads
        loads += 1
        await go.wait()
        return b"value"

    waiting = [asyncio.create_task(cache.get("key", load)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    go.set()
    assert await asyncio.gather(*waiting[1:]) == [b"value"] * 4
    assert await cache.get("key", load) == b"value"
    assert loads == 1


async def test_the_cache_forgets_what_was_used_longest_ago_and_never_holds_what_is_too_heavy() -> None:
    cache: Cache[str, bytes] = Cache(10, len)
    loaded: list[str] = []

    async def get(key: str, size: int) -> None:
        async def load() -> bytes:
            loaded.append(key)
            return bytes(size)

        await cache.get(key, load)

    for key, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("heavy", 11), ("heavy", 11)):
        await get(key, size)
    assert loaded == ["a", "b", "c", "b", "heavy", "heavy"]


async def test_the_cache_keeps_neither_none_nor_a_failure() -> None:
    cache: Cache[str, bytes] = Cache(10, len)
    answers: list[bytes | Exception | None] = [None, ValueError("broken"), b"value"]

    async def load() -> bytes | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await cache.get("key", load) is None
    with pytest.raises(ValueError, match="broken"):
        await cache.get("key", load)
    assert await cache.get("key", load) == b"value"
