"""What people are shown over HTTP when everything is over: statuses, logs, pages."""

import asyncio
from pathlib import Path

import httpx
import msgspec

from services.cli.benches.chaos.api import Api
from services.cli.benches.chaos.audit import Violation, newest_completed
from services.cli.benches.chaos.facts import Facts, Row
from services.cli.benches.chaos.load import Load
from services.cli.benches.chaos.stack import Stack
from shared.adapters.objects import LOGS
from shared.log_lines import NumberedLine, archive_prefix

_AT_ONCE = 8


async def served(stack: Stack, api: Api, facts: Facts, load: Load) -> list[Violation]:
    """Ask the API for every deployment, and the edge for every site."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def guarded(row: Row) -> list[Violation]:
        async with gate:
            return await _deployment(stack, api, row)

    found = await asyncio.gather(*(guarded(row) for row in facts.deployments))
    return [violation for some in (*found, await _sites(stack, facts, load)) for violation in some]


async def _deployment(stack: Stack, api: Api, row: Row) -> list[Violation]:
    found = []
    status = (await api.get(f"/deploy/{row['id']}/status"))["status"]
    if status != row["outcome"]:
        found.append(Violation(row["id"], f"is {row['outcome']} and HTTP says {status}"))
    page = await api.get(f"/deploy/{row['id']}/logs?limit=10000")
    if not page["complete"]:
        found.append(Violation(row["id"], "its log is not complete"))
    shown = {line["seq"] for line in page["logs"]}
    if missing := shown - _archived(stack.folder / "objects" / LOGS / archive_prefix(row["id"])):
        found.append(Violation(row["id"], f"{len(missing)} of {len(shown)} lines of its log are not archived"))
    return found


def _archived(folder: Path) -> set[int]:
    """The numbers of the lines in all files of an archived log."""
    lines = [line for file in folder.glob("*.ndjson") for line in file.read_bytes().splitlines()]
    return {msgspec.json.decode(line, type=NumberedLine).seq for line in lines}


async def _sites(stack: Stack, facts: Facts, load: Load) -> list[Violation]:
    markers = {deployment_id: sent.order.marker for deployment_id, sent in load.sent.items()}
    newest = newest_completed(facts)
    found = []
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        for site in facts.sites:
            row = newest.get(site["project_id"])
            host = f"{site['name']}.localhost:{stack.settings.edge_port}"
            answer = await client.get(f"http://{stack.settings.edge_address}/", headers={"host": host})
            release = answer.headers.get("x-zepid-release", "")
            if release != (row["release_id"] if row else ""):
                wanted = row["release_id"] if row else "nothing"
                found.append(Violation(site["name"], f"serves {release or 'nothing'}, must serve {wanted}"))
            elif row and markers.get(row["id"], "") not in answer.text:
                found.append(Violation(site["name"], f"serves as {release} a page that is not that deployment's"))
    return found
