"""Workers at the edge: real workerd in its sandbox, asked over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared import blobs
from shared.adapters.workerd.runtime import Runtime
from shared.hosting import AssetRules, Hosting, Module, WorkerScript
from tests.edge_world import EdgeWorld, edge_world
from tests.waiting import until

SCRIPT = b"""
export default {
  async fetch(request, env, context) {
    const url = new URL(request.url);
    switch (url.pathname) {
      case "/api/echo":
        return Response.json({
          url: request.url, method: request.method, body: await request.text(),
          headers: Object.fromEntries(request.headers), text: env.GREETING, list: env.LIST, secret: env.SECRET,
        }, { status: 201, headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-zepid-release", "forged"]] });
      case "/api/asset": return env.ASSETS.fetch(new URL("/hello.txt", request.url));
      case "/api/stream": return new Response(new ReadableStream({
        async start(controller) {
          for (let i = 0; i < 3; i++) {
            controller.enqueue(new TextEncoder().encode(`piece ${i}\\n`));
            await new Promise((done) => setTimeout(done, 300));
          }
          controller.close();
        } }));
      case "/api/wait": await new Promise((done) => setTimeout(done, 1000)); return new Response("waited");
      case "/api/loop": while (true) {}
      case "/api/bomb": { const kept = []; while (true) kept.push(new Array(100_000).fill(Math.random())); }
      case "/api/fetch": try {
        const answer = await fetch(url.searchParams.get("of"));
        return new Response(`${answer.status} ${await answer.text()}`);
      } catch (error) { return new Response(String(error), { status: 599 }); }
      default: return new Response(`the Worker at ${url.pathname}`, { headers: { "content-type": "text/html" } });
    }
  },
};
"""
FILES = {"index.html": b"<h1>page</h1>", "hello.txt": b"hello from a file"}


class Site:
    """A site with a Worker, and a client that asks for it."""

    def __init__(self, world: EdgeWorld, client: httpx.AsyncClient) -> None:
        self.world = world
        self.client = client

    async def publish(self, name: str, script: bytes = SCRIPT, **changes: Any) -> str:
        module = Module(await blobs.store(self.world.objects, script), len(script))
        variables = {"GREETING": 'hello "you"\n', "LIST": [1, {"a": None}]}
        worker = WorkerScript("index.js", {"index.js": module}, variables)
        rules = AssetRules(not_found_handling="single-page-application", binding="ASSETS")
        hosting = Hosting("2026-01-01", (), **{"assets": rules, "worker": worker} | changes)
        return await self.world.publish(name, FILES if hosting.assets else {}, hosting)

    async def ask(self, name: str, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        headers = {"host": f"{name}.localhost"} | options.pop("headers", {})
        return await self.client.request(method, path, headers=headers, **options)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which workerd is installed, once for all tests."""
    data = tmp_path_factory.mktemp("workerd")
    await Runtime(data).provide()
    return data


@pytest.fixture
async def site(database_url: str, tmp_path: Path, runtime: Path) -> AsyncIterator[Site]:
    limits = {"worker_cpu_seconds": 1.0, "worker_idle_seconds": 1.5, "workers_at_once": 2}
    async with a_site(database_url, tmp_path, data_dir=str(runtime), **limits) as site:
        yield site


@asynccontextmanager
async def a_site(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[Site]:
    async with edge_world(database_url, folder, **settings) as world:
        address = f"http://{world.settings.edge_address}"
        async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client:
            yield Site(world, client)


async def test_a_worker_answers_with_its_variables_and_files_beside_it_win(site: Site) -> None:
    release = await site.publish("app")
    answer = await site.ask("app", "/api/echo?a=%20b", "POST", content=b"body", headers={"x-own": "1"})
    said = answer.json()
    assert answer.status_code == 201
    assert (said["url"], said["method"], said["body"]) == ("http://app.localhost/api/echo?a=%20b", "POST", "body")
    assert (said["text"], said["list"]) == ('hello "you"\n', [1, {"a": None}])
    assert (said["headers"]["x-own"], said["headers"]["cf-connecting-ip"]) == ("1", "127.0.0.1")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers.get_list("x-zepid-release") == [release]
    assert (await site.ask("app", "/hello.txt")).content == FILES["hello.txt"]
    assert (await site.ask("app", "/api/asset")).content == FILES["hello.txt"]
    page = await site.ask("app", "/deep/link", headers={"sec-fetch-mode": "navigate"})
    assert page.content == FILES["index.html"]
    assert (await site.ask("app", "/deep/link")).text == "the Worker at /deep/link"
    assert (await site.ask("app", "/deep/link", "DELETE")).text == "the Worker at /deep/link"
    assert (await site.ask("app", "/hello.txt", "POST")).status_code == 405


async def test_a_body_of_megabytes_passes_and_an_answer_comes_in_pieces(site: Site) -> None:
    await site.publish("app")
    body = bytes(range(256)) * 20_000
    echoed = await site.ask("app", "/api/echo", "PUT", content=b"x" * len(body))
    assert echoed.json()["body"] == "x" * len(body)
    came: list[float] = []
    async with site.client.stream("GET", "/api/stream", headers={"host": "app.localhost"}) as answer:
        async for _ in answer.aiter_lines():
            came.append(time.monotonic())
    assert len(came) == 3
    assert came[2] - came[0] > 0.3


async def test_an_endless_loop_and_a_memory_bomb_hurt_only_their_own_worker(site: Site) -> None:
    await site.publish("bad")
    await site.publish("good")
    assert (await site.ask("good", "/x")).status_code == 200
    began = time.monotonic()
    loop = asyncio.create_task(site.ask("bad", "/api/loop"))
    while not loop.done():
        assert (await site.ask("good", "/x")).status_code == 200
        assert (await site.ask("good", "/hello.txt")).status_code == 200
        await asyncio.sleep(0.05)
    answer = await loop
    assert answer.status_code == 502
    assert "used the processor for too long" in answer.json()["message"]
    assert time.monotonic() - began < 10
    assert (await site.ask("bad", "/api/echo")).status_code == 201
    bomb = await site.ask("bad", "/api/bomb")
    assert bomb.status_code == 502
    assert (await site.ask("bad", "/api/echo")).status_code == 201
    assert (await site.ask("good", "/x")).status_code == 200


async def test_a_worker_that_fails_at_its_start_says_so_and_rests(site: Site) -> None:
    await site.publish("broken", b"throw new Error('no way');")
    answers = [await site.ask("broken", "/x") for _ in range(5)]
    assert {answer.status_code for answer in answers} == {502}
    assert "rests" in answers[-1].json()["message"]
    assert "no way" not in answers[0].text


async def test_idle_workers_end_and_others_make_room(site: Site) -> None:
    for name in ("one", "two", "three"):
        await site.publish(name)
        assert (await site.ask(name, "/x")).status_code == 200

    async def ended() -> bool:
        return not list((site.world.settings.data_path / "workers").glob("*/rel_*"))

    await until(ended)
    assert (await site.ask("one", "/x")).status_code == 200


async def test_an_organisation_has_its_share_of_workers_and_no_more(
    database_url: str, tmp_path: Path, runtime: Path
) -> None:
    async with a_site(database_url, tmp_path, data_dir=str(runtime), workers_per_organization=1) as site:
        for owner, name in (("acme", "one"), ("acme", "two"), ("other", "theirs")):
            site.world.owner = owner
            await site.publish(name)
        assert (await site.ask("one", "/x")).status_code == 200
        waiting = asyncio.create_task(site.ask("one", "/api/wait"))
        await asyncio.sleep(0.2)
        refused = await site.ask("two", "/x")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert (await site.ask("theirs", "/x")).status_code == 200
        assert (await waiting).text == "waited"
        assert (await site.ask("two", "/x")).status_code == 200


async def test_a_worker_reaches_only_what_is_public(site: Site) -> None:
    await site.publish("app")
    address = f"http://{site.world.settings.edge_address}/_edge/health"
    answer = await site.ask("app", "/api/fetch", params={"of": address})
    assert answer.text.startswith("403 This fetch is not possible")
    assert "not public" in answer.text


async def test_a_worker_reaches_the_networks_that_are_allowed(database_url: str, tmp_path: Path, runtime: Path) -> None:
    own = {"data_dir": str(runtime), "worker_allowed_networks": "127.0.0.0/8"}
    async with a_site(database_url, tmp_path, **own) as site:
        await site.publish("app")
        address = f"http://{site.world.settings.edge_address}/_edge/health"
        answer = await site.ask("app", "/api/fetch", params={"of": address})
        assert answer.text == '200 {"status":"healthy"}'
