"""The edge answers for static assets as the conformance table says."""

from pathlib import Path

import httpcore

from tests.asset_table import Asker, sites
from tests.edge_world import edge_world


async def test_every_request_of_the_table_is_answered_as_it_says(database_url: str, tmp_path: Path) -> None:
    wrong = []
    async with edge_world(database_url, tmp_path) as world, httpcore.AsyncConnectionPool() as pool:
        for site in sites():
            await world.publish(site.name, site.files, site.hosting)
            asker = Asker(pool, world.settings.edge_port, f"{site.name}.localhost")
            wrong += [fault for row in site.rows if (fault := site.fault(row, await asker.ask(row)))]
    assert not wrong, "\n".join(wrong)


def test_the_table_is_large_and_mostly_asked_of_workerd() -> None:
    assert sum(len(site.rows) for site in sites() if not site.reason) >= 150
