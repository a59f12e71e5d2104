"""What every publisher does: over a real edge, and over a fake of Cloudflare's API."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from shared.adapters.objects import ARTIFACTS, open_objects
from shared.adapters.postgres.publications import Publications
from shared.adapters.publishers import publishers
from shared.adapters.publishers.addresses import Addresses, parse_name
from shared.adapters.publishers.cloudflare.publisher import CloudflarePublisher
from shared.adapters.publishers.local import LocalPublisher
from shared.adapters.publishers.noop import NoopPublisher
from shared.contracts.errors import ZepidError
from shared.hosting import Hosting
from shared.ports import Publisher
from shared.sealing import Seal
from shared.settings import InvalidSettings, Settings, load_settings
from tests.cloudflare_world import OnePointer
from tests.edge_world import EdgeWorld, edge_world, serving, until
from tests.fakes.cloudflare import fake_cloudflare
from tests.waiting import quickest

PAGE = {"index.html": b"<h1>hello</h1>"}
LONGEST_NAME = "s" * 63
serving_publishers = pytest.mark.parametrize("publisher", ["local", "cloudflare"], indirect=True)


@pytest_asyncio.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[EdgeWorld]:
    async with edge_world(database_url, tmp_path) as world:
        yield world


@pytest_asyncio.fixture(params=["local", "noop", "cloudflare"])
async def publisher(request: pytest.FixtureRequest, world: EdgeWorld, database_url: str) -> AsyncIterator[Publisher]:
    settings = world.settings
    if request.param != "cloudflare":
        yield LocalPublisher(settings) if request.param == "local" else NoopPublisher(settings.edge_url)
        return
    world.target = "cloudflare"
    async with fake_cloudflare() as fake:
        settings = load_settings(settings.as_environ(), **fake.settings)
        pointers = Publications(database_url, Seal(), "cloudflare")
        yield CloudflarePublisher(settings, world.objects, pointers)


async def test_a_release_is_seen_at_its_own_address_before_the_switch(world: EdgeWorld, publisher: Publisher) -> None:
    await world.add_site("shop")
    release = await world.add_release("shop", PAGE)
    await publisher.probe(publisher.release_url("shop", release), release)


async def test_a_published_release_is_seen_at_the_public_address(world: EdgeWorld, publisher: Publisher) -> None:
    for number in range(3):
        release = await world.publish("shop", {"index.html": b"%d" % number})
        await publisher.publish("shop", release)
        await publisher.probe(publisher.public_url("shop"), release)


async def test_publishing_again_changes_nothing(world: EdgeWorld, publisher: Publisher) -> None:
    release = await world.publish("shop", PAGE)
    for _ in range(2):
        await publisher.publish("shop", release)
    await publisher.probe(publisher.public_url("shop"), release)


async def test_the_pointer_decides_whatever_a_late_publisher_wanted(world: EdgeWorld, publisher: Publisher) -> None:
    overtaken = await world.publish("shop", PAGE)
    wanted = await world.publish("shop", {"index.html": b"newer"})
    await asyncio.gather(*(publisher.publish("shop", release) for release in (wanted, overtaken, wanted)))
    await publisher.probe(publisher.public_url("shop"), wanted)


async def test_a_site_without_a_release_can_be_published(world: EdgeWorld, publisher: Publisher) -> None:
    await world.add_site("shop")
    await publisher.publish("shop", "rel_1")
    await publisher.publish("nowhere", "rel_1")


async def ask(publisher: Publisher, path: str = "", **headers: str) -> httpx.Response:
    """Ask the site `shop` as a browser does that goes to a page; its name need not resolve."""
    url = httpx.URL(publisher.public_url("shop") + path)
    async with httpx.AsyncClient(trust_env=False, headers={"sec-fetch-mode": "navigate", "accept": "text/html"}) as web:
        return await web.get(url.copy_with(host="127.0.0.1"), headers={"host": url.netloc.decode(), **headers})


@serving_publishers
async def test_a_site_that_is_removed_is_not_served_any_more(world: EdgeWorld, publisher: Publisher) -> None:
    release = await world.publish("shop", PAGE)
    await publisher.publish("shop", release)
    await publisher.probe(publisher.public_url("shop"), release)
    assert (await ask(publisher)).content == PAGE["index.html"]
    await world.pool.execute("delete from site where name = 'shop'")
    for _ in range(2):
        await publisher.publish("shop", "")

    async def is_gone() -> bool:
        return (await ask(publisher)).status_code == 404

    await until(is_gone)


@serving_publishers
@pytest.mark.parametrize(
    ("files", "path", "answer"),
    [
        ({"index.html": b"app"}, "a/page", (200, b"app")),
        ({"index.html": b"app", "404.html": b"gone"}, "a/page", (404, b"gone")),
        ({"index.html": b"app", "404.html": b"gone", "a/404.html": b"gone in a"}, "a/page", (404, b"gone in a")),
        ({"index.html": b"app", "404.html": b"gone", "a/404.html": b"gone in a"}, "b/page", (404, b"gone")),
        ({"index.html": b"app", "404.html": b"gone"}, "a/script.js", (404, b"gone")),
    ],
)
async def test_what_is_missing_is_answered_alike_without_a_configuration(
    world: EdgeWorld, publisher: Publisher, files: dict[str, bytes], path: str, answer: tuple[int, bytes]
) -> None:
    await publisher.publish("shop", await world.publish("shop", files))
    found = await ask(publisher, path)
    assert (found.status_code, found.content) == answer


@serving_publishers
async def test_a_configured_project_answers_as_it_says(world: EdgeWorld, publisher: Publisher) -> None:
    await publisher.publish("shop", await world.publish("shop", {"index.html": b"app"}, Hosting("2025-01-01")))
    assert (await ask(publisher, "a/page")).status_code == 404


async def test_a_release_has_its_own_address_at_the_edge_wherever_it_is_served(
    world: EdgeWorld, publisher: Publisher
) -> None:
    assert publisher.release_url("shop", "rel_1") == LocalPublisher(world.settings).release_url("shop", "rel_1")


async def test_addresses_are_distinct_and_fit_the_domain_name_system(publisher: Publisher) -> None:
    release = f"rel_{'0' * 32}"
    addresses = [publisher.public_url(LONGEST_NAME), publisher.release_url(LONGEST_NAME, release)]
    hosts = [urlsplit(address).hostname or "" for address in addresses]
    assert len(set(hosts)) == 2
    assert all(len(host) <= 253 and max(map(len, host.split("."))) <= 63 for host in hosts)


async def test_a_first_look_costs_little(world: EdgeWorld) -> None:
    release = await world.publish("shop", PAGE)
    publisher = LocalPublisher(world.settings)
    assert await quickest(lambda: publisher.probe(publisher.public_url("shop"), release)) < 0.1


async def test_a_switch_that_comes_late_is_waited_for(world: EdgeWorld) -> None:
    await world.publish("shop", PAGE)
    late = await world.add_release("shop", PAGE)
    publisher = LocalPublisher(world.settings)
    probing = asyncio.create_task(publisher.probe(publisher.public_url("shop"), late))
    done, _ = await asyncio.wait({probing}, timeout=0.1)
    assert not done
    await world.point("shop", late)
    await probing


async def test_a_release_without_an_index_fails_at_once_with_a_hint(world: EdgeWorld) -> None:
    release = await world.publish("shop", {"readme.txt": b"x"})
    publisher = LocalPublisher(world.settings)
    started = time.perf_counter()
    with pytest.raises(ZepidError, match=r"answered 404.*index\.html") as failed:
        await publisher.probe(publisher.public_url("shop"), release)
    assert failed.value.code.name == "RELEASE_PROBE_FAILED"
    assert publisher.public_url("shop") in failed.value.message
    assert time.perf_counter() - started < 2


async def test_an_empty_page_is_not_live(world: EdgeWorld) -> None:
    release = await world.publish("shop", {"index.html": b""})
    publisher = LocalPublisher(world.settings)
    with pytest.raises(ZepidError, match="without a body") as failed:
        await publisher.probe(publisher.public_url("shop"), release)
    assert failed.value.code.name == "RELEASE_PROBE_FAILED"


async def test_another_release_at_the_end_is_named(world: EdgeWorld) -> None:
    served = await world.publish("shop", PAGE)
    publisher = LocalPublisher(world.settings, probe_seconds=0.2)
    with pytest.raises(ZepidError, match=f"as release {served}, not as rel_other") as failed:
        await publisher.probe(publisher.public_url("shop"), "rel_other")
    assert failed.value.code.name == "PUBLISH_FAILED"


async def test_an_edge_that_is_away_is_no_fault_of_the_release() -> None:
    publisher = LocalPublisher(Settings(edge_address="127.0.0.1:1"), probe_seconds=0.2)
    with pytest.raises(ZepidError, match="no answer") as failed:
        await publisher.probe(publisher.public_url("shop"), "rel_1")
    assert failed.value.code.retryable


async def test_a_page_is_live_when_it_has_the_scripts_and_styles_it_needs(world: EdgeWorld) -> None:
    page = b"""<link rel=stylesheet href="/assets/a.css"><script type=module src="./assets/b.js?v=1#x"></script>
      <script src="https://cdn.example/c.js"></script><div id=root></div>"""
    files = {"index.html": page, "assets/a.css": b"a {}", "assets/b.js": b"b()"}
    release = await world.publish("shop", files)
    publisher = LocalPublisher(world.settings)
    await publisher.probe(publisher.public_url("shop"), release)
    await publisher.probe(f"http://{world.settings.edge_address}/_sites/shop/", release)


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (b"<link rel=stylesheet href=/assets/gone.css>", "gone.css"),
        (b"<h1>hello</h1><script src=/assets/app-B7xK2_ab.js></script>", "app-B7xK2_ab.js"),
        (b"<script src=gone></script>", "needs .*/gone"),
        (b"<base href=/sub/><script src=app.js></script>", "sub/app.js"),
        (b"  \n ", "without a body"),
        (b"<!doctype html><title>x</title><body> <div></div></body>", "blank page"),
    ],
)
async def test_a_page_that_lacks_what_it_needs_or_shows_nothing_is_not_live(
    world: EdgeWorld, page: bytes, fault: str
) -> None:
    await world.publish("shop", {"index.html": b"<h1>good</h1>", "assets/app-B7xK2_ab.js": b"x()"})
    release = await world.publish("shop", {"index.html": page, "app.js": b"x()"})
    publisher = LocalPublisher(world.settings)
    started = time.perf_counter()
    with pytest.raises(ZepidError, match=fault) as failed:
        await publisher.probe(publisher.public_url("shop"), release)
    assert failed.value.code.name == "RELEASE_PROBE_FAILED"
    assert time.perf_counter() - started < 2


class Scripted:
    """An edge that answers what the test says, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        self.asked.append(dict(scope["headers"])[b"host"].decode() + scope["path"])
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


RELEASED = {"x-zepid-release": "rel_1"}


async def probe(edge: Scripted, seconds: float = 5) -> None:
    async with serving(edge) as port:
        publisher = LocalPublisher(Settings(edge_address=f"127.0.0.1:{port}"), probe_seconds=seconds)
        await publisher.probe("http://shop.localhost:3080/", "rel_1")


async def test_redirects_are_followed_through_the_edge() -> None:
    edge = Scripted(
        (307, {"location": "./en/"}, b""), (301, {"location": "//www.test/x"}, b""), (200, RELEASED, b"page")
    )
    await probe(edge)
    assert edge.asked == ["shop.localhost:3080/", "shop.localhost:3080/en/", "www.test/x"]


async def test_a_probe_goes_on_through_failures_that_may_pass() -> None:
    await probe(Scripted((503, {}, b"soon"), (502, RELEASED, b"soon"), (200, {}, b"old"), (200, RELEASED, b"page")))


async def test_a_site_that_answers_500_is_not_live() -> None:
    with pytest.raises(ZepidError, match="answered 500") as failed:
        await probe(Scripted((500, RELEASED, b"broken")), seconds=0.2)
    assert failed.value.code.name == "RELEASE_PROBE_FAILED"


async def test_an_endless_redirect_is_not_live() -> None:
    with pytest.raises(ZepidError, match="redirects"):
        await probe(Scripted((307, {"location": "/"}, b"")), seconds=0.2)


@pytest.mark.parametrize("name", ["local", "noop"])
def test_every_installation_serves_the_target_local(name: str, tmp_path: Path) -> None:
    objects = open_objects(f"file://{tmp_path}", ARTIFACTS)
    assert set(publishers(Settings(publisher=name), objects, OnePointer())) == {"local"}


def test_cloudflare_is_a_target_where_it_is_configured(tmp_path: Path) -> None:
    given = {"cloudflare_account_id": "a", "cloudflare_api_token": "t", "cloudflare_url": "https://{site}.example.com"}
    objects = open_objects(f"file://{tmp_path}", ARTIFACTS)
    assert set(publishers(load_settings({}, **given), objects, OnePointer())) == {"local", "cloudflare"}


@pytest.mark.parametrize("missing", ["cloudflare_api_token", "cloudflare_account_id"])
def test_a_target_configured_in_part_stops_the_service(missing: str) -> None:
    given = {"cloudflare_account_id": "a", "cloudflare_api_token": "t", "cloudflare_url": "https://{site}.example.com"}
    with pytest.raises(InvalidSettings, match=missing.upper()):
        load_settings({}, **{**given, missing: ""})


@pytest.mark.parametrize(
    ("pattern", "suffixes"),
    [
        ("http://{site}.localhost:3080", (".localhost",)),
        ("https://{site}.Sites.example", (".sites.example", ".localhost")),
        ("https://{site}-app.example:8443/", ("-app.example", ".localhost")),
        ("http://127.0.0.1:3080/_sites/{site}", (".localhost",)),
    ],
)
def test_the_edge_reads_the_addresses_that_the_publisher_writes(pattern: str, suffixes: tuple[str, ...]) -> None:
    addresses = Addresses(pattern)
    assert addresses.suffixes() == suffixes
    assert addresses.of_site("shop") == pattern.replace("{site}", "shop").rstrip("/") + "/"
    assert addresses.site_of(addresses.of_site("shop")) == "shop"
    assert addresses.site_of("https://elsewhere.test/") is None
    assert parse_name("shop") == ("shop", None)
    assert "rel-12.shop" in addresses.of_release("shop", "rel_12")
    assert parse_name("rel-12.shop") == ("shop", "rel_12")
