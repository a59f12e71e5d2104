"""The first command of the README: from nothing to a page in a browser."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, expect

from infra.dev.data_dir import port_for
from tests.browser.test_page import SITE, collect_complaints

LIVE_WITHIN_SECONDS = 60.0


async def test_up_with_deploy_puts_the_demo_live_within_a_minute(tmp_path: Path, browser: Browser) -> None:
    began = time.monotonic()
    async with live_demo(tmp_path) as url:
        page = await browser.new_page()
        complaints = collect_complaints(page)
        answer = await page.goto(url)
        seconds = time.monotonic() - began
        assert answer is not None
        assert re.fullmatch("rel_[0-9a-f]{32}", answer.headers["x-zepid-release"])
        assert seconds <= LIVE_WITHIN_SECONDS

        await expect(page).to_have_title("Zepid demo")
        await expect(page.get_by_role("heading", name="It's live.")).to_be_visible()
        await page.get_by_role("button", name="Send a ripple").click()
        await expect(page.get_by_role("status")).to_have_text("1 ripple sent")
        assert complaints == []


@asynccontextmanager
async def live_demo(folder: Path) -> AsyncIterator[str]:
    """Run `zepid up --deploy` with the demo, and yield the address it prints at the end."""
    ports = [str(port_for(name, folder, 0)) for name in ("gateway", "edge")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "up", "--data-dir", str(folder / "data"), "--deploy", str(SITE)),
        *("--port", ports[0], "--edge-port", ports[1]),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield await asyncio.wait_for(printed_address(process), 2 * LIVE_WITHIN_SECONDS)
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), 30)


async def printed_address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    said: list[str] = []
    async for line in process.stdout:
        said.append(line.decode())
        if found := re.match(r"Live at (http\S+) until Ctrl-C", said[-1]):
            return found[1]
    raise AssertionError("".join(said))
