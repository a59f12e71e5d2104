"""A real browser for tests that must see what a visitor sees."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

_CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = [
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
]


@pytest.fixture
def chromium() -> Path:
    """The browser's executable; without it the test is skipped."""
    if not _CHROMIUM.exists():
        pytest.skip(f"{_CHROMIUM} is missing; on Debian `apt-get install chromium` brings it")
    return _CHROMIUM


@pytest_asyncio.fixture
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    """A headless Chromium of the test's own that talks to nobody but the pages it is given."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()
