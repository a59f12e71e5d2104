"""The object store breaks until deployments die of it; mended, `zepid dlq` brings every one of them home."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import msgspec

from services.cli.scan import scan
from shared.client import Client
from shared.client.answers import DeploymentStatus, Project
from tests.e2e.apps import write
from tests.live import LiveStack, live_stack
from tests.waiting import until

SITES = 5
ROOM = {f"MAX_{name}": str(2 * SITES) for name in ("CONCURRENT_DEPLOYMENTS", "CONCURRENT_PER_ORGANIZATION")}
DEAD_SECONDS = 60.0


async def zepid(stack: LiveStack, *words: str) -> tuple[int, list[str]]:
    """What `zepid dlq …` printed, line by line, and its exit code."""
    connection = stack.connection
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "dlq", *words, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "ZEPID_URL": connection.url, "ZEPID_TOKEN": connection.token},
    )  # fmt: skip
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, printed.decode().splitlines()


async def site(client: Client, folder: Path, number: int) -> Project:
    """A project with a static page as its source."""
    project = await client.create_project(f"site-{number}")
    source = scan(write({"index.html": f"<p>{number}</p>".encode()}, folder / str(number)))
    state = await client.offer_source(project.id, source.manifest)
    for digest in state.missing:
        path = next(path for path, entry in source.manifest.files.items() if entry.digest == digest)
        await client.upload_blob(digest, (source.folder / path).read_bytes())
    await client.offer_source(project.id, source.manifest)
    return project


@contextmanager
def broken_store(stack: LiveStack) -> Iterator[None]:
    """Put a file where the object store's folder is: no permission keeps root out, this does."""
    folder = Path(urlsplit(stack.settings.object_store_url).path)
    away = folder.rename(folder.with_name("away"))
    folder.write_bytes(b"")
    try:
        yield
    finally:
        folder.unlink()
        away.rename(folder)


async def ended(client: Client, deployment_id: str) -> DeploymentStatus:
    async def status() -> DeploymentStatus | None:
        found = await client.status(deployment_id)
        return found if found.has_ended else None

    found: DeploymentStatus = await until(status, DEAD_SECONDS)
    return found


async def retries_of(stack: LiveStack) -> dict[str, str]:
    """New deployment → the dead one it was redriven from."""
    connection = await asyncpg.connect(stack.settings.postgres_url)
    try:
        rows = await connection.fetch("select id, retry_of from deployment where retry_of is not null")
    finally:
        await connection.close()
    return {row["id"]: row["retry_of"] for row in rows}


async def test_what_died_of_a_broken_store_completes_when_redriven(tmp_path: Path) -> None:
    async with live_stack(tmp_path / "data", environ=ROOM) as stack:
        connection = stack.connection
        async with Client(connection.url, connection.token) as client:
            projects = [await site(client, tmp_path, number) for number in range(SITES)]
            with broken_store(stack):
                accepted = [await client.deploy(project, connection.user_id) for project in projects]
                dead = [deployment.deployment_id for deployment in accepted]
                for status in await asyncio.gather(*(ended(client, deployment_id) for deployment_id in dead)):
                    assert status.status == "failed"
                    assert status.diagnosis is not None
                    assert status.diagnosis.code.startswith("STORAGE_")
                    assert status.duration is not None
                    assert status.duration / 1000 < stack.settings.deadline_seconds / 2
            code, lines = await zepid(stack, "ls", "--json")
            letters = [msgspec.json.decode(line) for line in lines]
            assert (code, {letter["deploymentId"] for letter in letters}) == (0, set(dead))
            assert {(letter["reason"], letter["deliveries"]) for letter in letters} == {("max_retries_exceeded", 4)}
            code, lines = await zepid(stack, "ls", "--step", letters[0]["actor"])
            assert lines[0].split() == ["Seq", "When", "Step", "Reason", "Deployment", "Last", "error"]
            assert len(lines) == 1 + SITES
            code, lines = await zepid(stack, "show", str(letters[0]["sequence"]))
            assert code == 0
            assert f"Deployment  {letters[0]['deploymentId']}, now failed" in lines

            code, lines = await zepid(stack, "redrive", "--all", "--rate", "5")
            assert (code, lines[-1]) == (0, f"{SITES} redriven, 0 refused")
            retries = await retries_of(stack)
            assert sorted(retries.values()) == sorted(dead)
            for number, project in enumerate(projects):
                [new] = [new for new, old in retries.items() if old == dead[number]]
                status = await ended(client, new)
                assert status.status == "completed", status
                assert status.worker_url is not None
                assert (await stack.get(status.worker_url)).text == f"<p>{number}</p>"
                assert (await client.status(dead[number])).status == "failed"
                assert project.id in status.worker_url
            assert await zepid(stack, "ls") == (0, ["No dead letters."])

            assert (await zepid(stack, "redrive", "1"))[0] == 1
            assert (await zepid(stack, "redrive"))[0] == 2
            assert (await zepid(stack, "discard", "1", "--reason", "gone already"))[0] == 3
