"""A site under load while it is switched: no request fails, no page is mixed of two releases.

It is switched 20 times; `ZEPID_SWITCHES=100` gives the test its full length.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest_asyncio

from tests.desk import Desk, open_desk
from tests.going_live import SITE

SWITCHES = int(os.environ.get("ZEPID_SWITCHES", "20"))
CLIENTS = 20
VISIBLE_SECONDS = 1.0


@pytest_asyncio.fixture
async def desk(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(nats_server, database_url, tmp_path) as desk:
        yield desk


def site(number: int) -> dict[str, bytes]:
    """A page that names its script; the script names the page that it belongs to."""
    script = f"assets/app-{number:04d}x9Bz.js"
    return {"index.html": f'<h1>{number}</h1><script src="/{script}"></script>'.encode(), script: b"%d" % number}


async def read_page(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/", headers={"accept": "text/html"})
    assert page.status_code == 200, page.text
    number = page.text.partition("<h1>")[2].partition("</h1>")[0]
    script = await browser.get(page.text.partition('src="')[2].partition('"')[0])
    assert script.status_code == 200, f"page {number}: {script.text}"
    assert script.text == number


async def test_a_site_under_load_is_switched_without_a_failed_or_mixed_page(desk: Desk) -> None:
    ids = [(await desk.live.go_live(site(number))).release for number in range(2)]
    stopping = asyncio.Event()
    read = 0

    async def hammer() -> None:
        nonlocal read
        async with desk.live.world.client(SITE) as browser:
            while not stopping.is_set():
                await read_page(browser)
                read += 1

    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(hammer())
        slowest = 0.0
        for number in range(SWITCHES // 2):
            ids.append((await desk.live.go_live(site(2 + number))).release)
            began = time.perf_counter()
            answer = await desk.roll_back(ids[-2])
            assert answer.status_code == 200, answer.text
            assert (await desk.live.served())[1] == ids[-2]
            slowest = max(slowest, time.perf_counter() - began)
        stopping.set()
    assert read >= SWITCHES
    assert slowest <= VISIBLE_SECONDS, f"{read} pages read"
