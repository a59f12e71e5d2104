"""A Worker by Hono with a page beside it, deployed for real and looked at as a visitor does."""

from pathlib import Path

from playwright.async_api import Browser, expect

from tests.browser.test_page import collect_complaints
from tests.e2e import apps
from tests.live import live_stack


async def test_the_page_shows_what_the_worker_answers_at_every_address(tmp_path: Path, browser: Browser) -> None:
    async with live_stack(tmp_path / "data") as stack:
        deployed = await stack.deploy(apps.write(apps.hono(), tmp_path / "app"))
        assert deployed.result["status"] == "completed", deployed.log
        page = await browser.new_page()
        complaints = collect_complaints(page)
        for path in ("", "any/where", "api/hello"):  # to go to a page is never for the Worker, as on Cloudflare
            answer = await page.goto(deployed.result["workerUrl"] + path)
            assert answer is not None
            assert answer.headers["x-zepid-release"].startswith("rel_")
            await expect(page).to_have_title("Hono app")
            await expect(page.get_by_role("heading", name="Hello from Hono")).to_be_visible()
        api = await stack.get(deployed.result["workerUrl"] + "api/hello")
        assert api.json() == {"hello": "Hono"}
        assert complaints == []
