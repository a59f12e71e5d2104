"""A site under load while it is switched: no request fails, no page is mixed of two releases."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.desk import Desk, open_desk
from tests.going_live import SITE

SWITCHES = 100
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


@asynccontextmanager
async def hammered(desk: Desk) -> AsyncIterator[dict[str, Any]]:
    """Let clients read the site for the length of a block; what they saw is there afterwards."""
    settings = desk.live.world.settings
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hammer"),
        *(settings.edge_address, f"{SITE}.localhost:{settings.edge_port}", str(CLIENTS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    seen: dict[str, Any] = {}
    try:
        yield seen
        seen |= json.loads((await process.communicate(b""))[0])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_site_under_load_is_switched_without_a_failed_or_mixed_page(desk: Desk) -> None:
    ids = [(await desk.live.go_live(site(number))).release for number in range(2)]
    slowest = 0.0
    async with hammered(desk) as seen:
        for number in range(SWITCHES // 2):
            ids.append((await desk.live.go_live(site(2 + number))).release)
            began = time.perf_counter()
            answer = await desk.roll_back(ids[-2])
            assert answer.status_code == 200, answer.text
            assert (await desk.live.served())[1] == ids[-2]
            slowest = max(slowest, time.perf_counter() - began)
    assert seen["faults"] == []
    assert seen["read"] >= SWITCHES
    assert slowest <= VISIBLE_SECONDS, seen
