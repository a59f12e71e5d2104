"""The dashboard in a browser: asks for a token, shows what is true, follows it, and works on a phone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from shared.adapters.postgres.tokens import Tokens
from shared.pulse import Pulse
from shared.resources import open_resources
from shared.settings import load_settings
from tests.browser.test_page import collect_complaints
from tests.golden_states import STATES, World, admit, life
from tests.stand import Stand, serving


@pytest_asyncio.fixture
async def stand(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    settings = load_settings(
        {}, nats_url=nats_server, postgres_url=database_url, object_store_url=f"file://{tmp_path}/objects"
    )
    async with (
        open_resources(settings, "test") as resources,
        serving(resources) as (gateway, url),
        httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client,
    ):
        _, token = await Tokens(resources.pool).create("operator", ["admin"], None, "root")
        yield Stand(gateway, url, client, resources, token)


async def worlds(stand: Stand) -> list[World]:
    """One deployment that waits, one that builds, one that is live and one that failed."""
    made = [World(stand, f"org-{number}") for number in range(4)]
    for world, state in zip(made, ("waits", "builds", "is live", "failed"), strict=True):
        await STATES[f"a deployment that {state}"](world)
    return made


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_dashboard_shows_the_truth_and_follows_it(
    stand: Stand, browser: Browser, tmp_path: Path, scheme: str
) -> None:
    waiting, *_ = await worlds(stand)
    stopping = asyncio.Event()
    beating = asyncio.create_task(Pulse(stand.resources.bus, {"projector": object()}).run(stopping))
    page = await browser.new_page(color_scheme=scheme, viewport={"width": 1200, "height": 1300})
    complaints = collect_complaints(page)
    await page.goto(f"{stand.url}/dashboard")
    await page.get_by_label("Token").fill(stand.token)
    await page.get_by_role("button", name="Look", exact=True).click()

    await expect(page.get_by_text("building", exact=True)).to_be_visible()
    await expect(page.locator("#active .deployment")).to_have_count(2)
    await expect(page.locator("#active")).to_contain_text("place 1")
    await expect(page.locator("#ended")).to_contain_text("BUILD_TYPE_ERROR in build (user)")
    await expect(page.locator("#ended")).to_contain_text("Correct the type error at the named file and line.")
    await expect(page.locator("#services")).to_contain_text("projector")
    await expect(page.locator("#queue")).to_contain_text("cleanup")
    await expect(page.locator("#health")).to_have_text("healthy")
    await page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)

    await admit(waiting)
    await stand.project_rows(*life(waiting.made["deploymentId"]))
    await expect(page.locator("#active .deployment")).to_have_count(1)
    await expect(page.locator("#ended .deployment")).to_have_count(3)

    await page.set_viewport_size({"width": 390, "height": 844})
    await page.screenshot(path=tmp_path / f"{scheme}-phone.png", full_page=True)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    assert complaints == []
    stopping.set()
    await beating


async def test_a_token_that_is_not_known_is_asked_for_again(stand: Stand, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(f"{stand.url}/dashboard")
    await page.get_by_label("Token").fill("zpd_wrong")
    await page.get_by_role("button", name="Look", exact=True).click()
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await expect(page.get_by_label("Token")).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0
