"""Cloudflare's own asset service in workerd, serving folders of this host."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.asset_table import COMPATIBILITY_DATE, Site
from tests.wrangler import NODE, install_wrangler

_SCRIPT = Path(__file__).with_suffix(".mjs")
START_SECONDS = 60.0
END_SECONDS = 10.0


@asynccontextmanager
async def workerd_serving(sites: Iterable[Site], folder: Path) -> AsyncIterator[dict[str, int]]:
    """Write the sites below a folder and serve them; yield the port of each by its name."""
    miniflare = install_wrangler().parents[2] / "miniflare" / "dist" / "src" / "index.js"
    options = json.dumps([_written(site, folder / site.name) for site in sites])
    process = await asyncio.create_subprocess_exec(
        *(NODE, _SCRIPT, miniflare.as_uri(), options, COMPATIBILITY_DATE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        ports = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        assert ports, "workerd did not start"
        yield json.loads(ports)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            process.kill()


def _written(site: Site, folder: Path) -> dict[str, str]:
    """Write a site's files; return its options."""
    for path, data in site.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    options = {"name": site.name, "directory": str(folder)}
    if site.rules.html_handling:
        options["htmlHandling"] = site.rules.html_handling
    if site.rules.not_found_handling:
        options["notFoundHandling"] = site.rules.not_found_handling
    return options
