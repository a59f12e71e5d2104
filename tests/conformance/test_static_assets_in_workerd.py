"""Cloudflare's asset service and the edge, side by side: the same folder, the same requests, the same answers."""

import asyncio
from pathlib import Path

import httpcore

from tests.asset_table import Asker, Row, Seen, Site, sites
from tests.edge_world import edge_world
from tests.workerd_assets import workerd_serving

OF_A_FILE = {"content-type", "cache-control", "location"}
OURS = (404, 405)
"""Statuses for which the asset service may send nothing, and the edge a notice."""


async def test_the_edge_and_workerd_answer_the_same(database_url: str, tmp_path: Path) -> None:
    asked = [site for site in sites() if not site.reason]
    wrong: list[str] = []
    async with (
        workerd_serving(asked, tmp_path / "sites") as ports,
        edge_world(database_url, tmp_path) as world,
        httpcore.AsyncConnectionPool() as pool,
    ):
        for site in asked:
            await world.publish(site.name, site.files, site.hosting)
            host = f"{site.name}.localhost"
            theirs, ours = Asker(pool, ports[site.name], host), Asker(pool, world.settings.edge_port, host)
            for row in site.rows:
                wrong += faults(site, row, *await asyncio.gather(theirs.ask(row), ours.ask(row)))
                first, again = await ours.ask(row), await ours.ask(row)
                if compared(site, again) != compared(site, first):
                    wrong.append(f"{site.name}: {row.line}\n  the edge, once more: {compared(site, again)}")
    assert not wrong, "\n".join(wrong)


def faults(site: Site, row: Row, theirs: Seen, ours: Seen) -> list[str]:
    """Return how workerd differs from the table, and the edge from workerd."""
    found = [fault] if (fault := site.fault(row, theirs)) else []
    if compared(site, theirs) != compared(site, ours):
        found.append(f"{site.name}: {row.line}\n  workerd {compared(site, theirs)}\n  the edge {compared(site, ours)}")
    return found


def compared(site: Site, seen: Seen) -> tuple[int, dict[str, str], bytes]:
    """Return the part of an answer that must be the same: status, headers that matter, bytes."""
    notice = seen.status in OURS and seen.body not in site.files.values()
    names = {name for row in site.rows for name in (*row.expected, *row.absent)} - {"etag"}
    names = names - OF_A_FILE if notice else names | OF_A_FILE
    kept = {name: value for name, value in seen.headers.items() if name in names}
    return seen.status, kept, b"" if notice else seen.body
