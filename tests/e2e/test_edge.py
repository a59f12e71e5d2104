"""The edge over a real database, a real bucket and HTTP."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import brotli
import httpx
import pytest
import pytest_asyncio
import zstandard

from tests.edge_world import EdgeWorld, edge_world, until

INDEX = b"<!doctype html><title>home</title>" + b"<p>hello</p>" * 100
SCRIPT = b"console.log('hello')\n" * 100


@pytest_asyncio.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[EdgeWorld]:
    async with edge_world(database_url, tmp_path) as world:
        yield world


async def test_the_release_of_the_pointer_is_served_with_its_types_and_id(world: EdgeWorld) -> None:
    release = await world.publish(
        "shop", {"index.html": INDEX, "assets/index-B7xK2_ab.js": SCRIPT, "logo.png": b"\x89PNG"}
    )
    async with world.client("shop") as client:
        page = await client.get("/")
        script = await client.get("/assets/index-B7xK2_ab.js")
        logo = await client.get("/logo.png")
    assert (page.status_code, page.content) == (200, INDEX)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "public, max-age=0, must-revalidate"
    assert page.headers["x-zepid-release"] == release
    assert page.headers["x-content-type-options"] == "nosniff"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (logo.content, logo.headers["content-type"]) == (b"\x89PNG", "image/png")


async def test_an_etag_saves_the_body(world: EdgeWorld) -> None:
    await world.publish("shop", {"index.html": INDEX})
    async with world.client("shop") as client:
        first = await client.get("/")
        again = await client.get("/", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
        changed = await client.get("/", headers={"if-none-match": '"other"'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert changed.status_code == 200


async def test_head_tells_what_get_would_send(world: EdgeWorld) -> None:
    await world.publish("shop", {"index.html": INDEX})
    async with world.client("shop") as client:
        got, told = await client.get("/"), await client.head("/")
    assert told.content == b""
    assert {**told.headers, "date": ""} == {**got.headers, "date": ""}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused(world: EdgeWorld, method: str) -> None:
    await world.publish("shop", {"index.html": INDEX})
    async with world.client("shop") as client:
        answer = await client.request(method, "/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_compressed_answers_decompress_to_the_file(world: EdgeWorld) -> None:
    await world.publish("shop", {"index.html": INDEX, "small.css": b"a{}", "photo.jpg": INDEX})
    async with world.client("shop") as client:
        plain = await client.get("/")
        raw: dict[str, bytes] = {}
        tags = {plain.headers["etag"]}
        for encoding in ("br", "zstd", "gzip"):
            async with client.stream("GET", "/", headers={"accept-encoding": encoding}) as answer:
                raw[encoding] = b"".join([chunk async for chunk in answer.aiter_raw()])
                assert answer.headers["content-encoding"] == encoding
                assert int(answer.headers["content-length"]) == len(raw[encoding])
                assert "accept-encoding" in answer.headers["vary"]
                tags.add(answer.headers["etag"])
        for path in ("/small.css", "/photo.jpg"):
            answer = await client.get(path, headers={"accept-encoding": "br, gzip"})
            assert "content-encoding" not in answer.headers
    assert "accept-encoding" in plain.headers["vary"]
    assert len(tags) == 4
    assert brotli.decompress(raw["br"]) == gzip.decompress(raw["gzip"]) == INDEX
    assert zstandard.decompress(raw["zstd"]) == INDEX


async def test_a_single_page_app_answers_navigations_but_not_missing_assets(world: EdgeWorld) -> None:
    await world.publish("shop", {"index.html": INDEX})
    async with world.client("shop") as client:
        route = await client.get("/orders/17", headers={"accept": "text/html"})
        asset = await client.get("/assets/gone.js", headers={"accept": "*/*"})
        fetched = await client.get("/api/orders", headers={"accept": "*/*", "sec-fetch-mode": "cors"})
    assert (route.status_code, route.content) == (200, INDEX)
    assert (asset.status_code, asset.headers["content-type"]) == (404, "application/json")
    assert fetched.status_code == 404
    assert fetched.json()["success"] is False


async def test_the_nearest_404_page_is_served(world: EdgeWorld) -> None:
    release = await world.publish("shop", {"index.html": INDEX, "404.html": b"top", "docs/404.html": b"docs"})
    async with world.client("shop", accept="text/html") as client:
        top, docs = await client.get("/gone"), await client.get("/docs/deep/gone.png")
    assert (top.status_code, top.content) == (404, b"top")
    assert (docs.status_code, docs.content) == (404, b"docs")
    assert top.headers["x-zepid-release"] == release


async def test_pages_are_found_without_their_extension_and_folders_with_their_slash(world: EdgeWorld) -> None:
    await world.publish("shop", {"about.html": b"about", "docs/index.html": b"docs"})
    async with world.client("shop") as client:
        about = await client.get("/about")
        moved = await client.get("/docs?q=1")
        docs = await client.get("/docs", follow_redirects=True)
    assert about.content == b"about"
    assert (moved.status_code, moved.headers["location"]) == (307, "/docs/?q=1")
    assert docs.content == b"docs"


@pytest.mark.parametrize(
    "path",
    [
        b"/..%2f..%2fetc/passwd",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"/../../etc/passwd",
        b"/assets/..%5c..%5cetc/passwd",
        b"//etc/passwd",
        b"/%00",
        b"/_sites/other/secret.txt",
    ],
)
async def test_no_path_leads_out_of_the_release(world: EdgeWorld, path: bytes) -> None:
    await world.publish("shop", {"index.html": INDEX})
    await world.publish("other", {"secret.txt": b"of another"})
    reader, writer = await asyncio.open_connection("127.0.0.1", world.settings.edge_port)
    writer.write(
        b"GET " + path + b" HTTP/1.1\r\nhost: shop.localhost\r\naccept: text/html\r\nconnection: close\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 307", b"HTTP/1.1 200"))
    assert answer.partition(b"\r\n\r\n")[2] in (b"", INDEX) or answer.startswith(b"HTTP/1.1 404")
    assert b"of another" not in answer


async def test_file_names_in_any_script_are_found(world: EdgeWorld) -> None:
    names = ["größe.txt", "图片/照片 1.txt", "100%.txt", "a+b&c.txt", "with?mark#.txt"]
    await world.publish("shop", {name: name.encode() for name in names})
    async with world.client("shop") as client:
        for name in names:
            answer = await client.get(f"/{quote(name)}")
            assert answer.content == name.encode(), name


async def test_the_edge_says_what_is_missing_to_people_and_to_programs(world: EdgeWorld) -> None:
    await world.add_site("empty")
    release = await world.publish("shop", {"readme.txt": b"x"})
    expected = {
        "ghost": "There is no site ghost",
        "empty": "empty has no release yet",
        "shop": "shop has no index.html",
        "rel-0.shop": "shop has no release rel_0",
        f"{release.replace('_', '-')}.empty": f"empty has no release {release}",
        "": "names no site",
    }
    for site, words in expected.items():
        async with world.client(site) as client:
            page = await client.get("/", headers={"accept": "text/html"})
            body = await client.get("/", headers={"x-request-id": "mine-1"})
        assert (page.status_code, body.status_code) == (404, 404)
        assert page.headers["content-type"].startswith("text/html")
        assert words in page.text
        assert words in body.json()["message"]
        assert body.json()["requestId"] == body.headers["x-request-id"] == "mine-1"
        assert body.headers["cache-control"] == "no-store"


async def test_a_site_name_is_shown_as_text(world: EdgeWorld) -> None:
    async with world.client() as client:
        page = await client.get("/_sites/<script>alert(1)</script>", headers={"accept": "text/html"})
        inside = await client.get("/_sites/%3Cscript%3E/", headers={"accept": "text/html"})
    assert "<script" not in page.text + inside.text


async def test_a_release_answers_at_its_own_address_whatever_the_pointer_says(world: EdgeWorld) -> None:
    first = await world.publish("shop", {"index.html": b"first"})
    await world.publish("shop", {"index.html": b"second"})
    async with world.client(f"{first.replace('_', '-')}.shop") as client:
        answer = await client.get("/")
    assert (answer.content, answer.headers["x-zepid-release"]) == (b"first", first)


async def test_the_path_form_serves_a_site_sandboxed_on_hosts_that_are_no_site_s(world: EdgeWorld) -> None:
    release = await world.publish("shop", {"index.html": INDEX, "docs/index.html": b"docs"})
    async with world.client() as client:
        page = await client.get("/_sites/shop", follow_redirects=True)
        docs = await client.get("/_sites/shop/docs", follow_redirects=True)
        own = await client.get(f"/_sites/{release.replace('_', '-')}.shop/")
    assert page.content == own.content == INDEX
    assert page.headers["x-zepid-release"] == own.headers["x-zepid-release"] == release
    assert page.url.path == "/_sites/shop/"
    assert "sandbox" in page.headers["content-security-policy"]
    assert (docs.content, docs.url.path) == (b"docs", "/_sites/shop/docs/")


async def test_health_answers_on_any_host(world: EdgeWorld) -> None:
    for site in ("", "ghost"):
        async with world.client(site) as client:
            answer = await client.get("/_edge/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


async def test_a_lost_blob_is_a_temporary_failure_without_inner_details(world: EdgeWorld) -> None:
    await world.publish("shop", {"index.html": INDEX})
    [manifest] = [row["manifest"] for row in await world.pool.fetch("select manifest from release")]
    async for key in world.objects.keys("blobs/"):
        if not key.endswith(manifest):
            await world.objects.delete(key)
    async with world.client("shop", accept="text/html") as client:
        answer = await client.get("/")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert "Traceback" not in answer.text


async def seen_release(client: httpx.AsyncClient, expected: str, *, within: float = 1.0) -> float:
    """Ask until the release is served; return after how many seconds."""
    started = time.monotonic()

    async def is_served() -> bool:
        return (await client.get("/")).headers.get("x-zepid-release") == expected

    await until(is_served, within=within)
    return time.monotonic() - started


async def test_a_switch_is_seen_within_a_second(world: EdgeWorld) -> None:
    async with world.client("shop") as client:
        for number in range(5):
            release = await world.publish("shop", {"index.html": b"%d" % number})
            await seen_release(client, release)


async def test_a_site_is_found_within_a_second_of_its_making(world: EdgeWorld) -> None:
    async with world.client("shop") as client:
        assert (await client.get("/")).status_code == 404
        await seen_release(client, await world.publish("shop", {"index.html": b"x"}))


async def test_switches_are_seen_after_the_listening_connection_was_cut(world: EdgeWorld) -> None:
    await world.publish("shop", {"index.html": b"first"})
    async with world.client("shop") as client:
        await client.get("/")
        await listeners(world, 1)
        await world.pool.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        await seen_release(client, await world.publish("shop", {"index.html": b"second"}))
        await listeners(world, 1)
        await seen_release(client, await world.publish("shop", {"index.html": b"third"}))


async def listeners(world: EdgeWorld, count: int) -> None:
    """Wait until that many connections hear of switches, by what the edge last ran on them."""
    query = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and (query ilike 'listen%' or query = 'select 1')"
    )

    async def are_there() -> bool:
        return bool(await world.pool.fetchval(query) >= count)

    await until(are_there)


async def test_sites_are_served_while_the_database_is_away(world: EdgeWorld, database_url: str) -> None:
    server, _, name = database_url.rpartition("/")
    administrator = await asyncpg.connect(f"{server}/postgres")
    release = await world.publish("shop", {"index.html": INDEX})
    try:
        async with world.client("shop") as client, world.client("ghost") as ghost:
            await client.get("/")
            await administrator.execute(f"alter database {name} allow_connections false")
            await administrator.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
            )
            for _ in range(3):
                answer = await client.get("/")
                assert (answer.status_code, answer.headers["x-zepid-release"]) == (200, release)
            assert (await ghost.get("/")).status_code == 503
            await administrator.execute(f"alter database {name} allow_connections true")
            await seen_release(client, await world.publish("shop", {"index.html": b"back"}), within=2)
    finally:
        await administrator.execute(f"alter database {name} allow_connections true")
        await administrator.close()


async def test_a_page_and_its_assets_belong_to_one_release_through_two_hundred_switches(world: EdgeWorld) -> None:
    def files(letter: str) -> dict[str, bytes]:
        asset = f"assets/app-Xy7{letter}_9qZ.js"
        return {"index.html": f"{letter} /{asset}".encode() * 60, asset: f"script {letter}".encode() * 600}

    await world.add_site("shop")
    letters = {await world.add_release("shop", files(letter)): letter for letter in "ABC"}
    releases = list(letters)
    await world.point("shop", releases[0])
    switching = asyncio.Event()
    read_one = asyncio.Event()

    async def read() -> None:
        async with world.client("shop", **{"accept-encoding": "br"}) as client:
            while not switching.is_set():
                page = await client.get("/")
                letter = letters[page.headers["x-zepid-release"]]
                assert page.text == files(letter)["index.html"].decode()
                path = page.text.split("/", 1)[1].split(".js", 1)[0]
                script = await client.get(f"/{path}.js")
                assert script.content == f"script {letter}".encode() * 600
                assert letters[script.headers["x-zepid-release"]] == letter
                read_one.set()

    async with asyncio.TaskGroup() as clients:
        for _ in range(4):
            clients.create_task(read())
        for number in range(200):
            read_one.clear()
            await world.point("shop", releases[number % 3])
            await asyncio.wait_for(read_one.wait(), 10)
        switching.set()
