"""Every service replaced while clients deploy, ask, follow and visit: none of them sees an error."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic

import httpx

from services.cli.catalog import NAMES
from services.cli.connection import Connection
from services.cli.scan import scan
from shared.adapters.jetstream.bus import Bus
from shared.client import Client
from shared.client.answers import DeploymentStatus, Project
from shared.pipeline import BY_NAME
from tests.e2e.apps import write
from tests.live import LiveStack, live_stack
from tests.waiting import until

CLIENTS = 4
RESTART_SECONDS = 90.0
STALL_SECONDS = 27.0
"""Longer than several services take to be replaced, shorter than the ack wait."""
PAUSE_SECONDS = 0.05


class Visitor:
    """Someone with a project, who deploys it again and again and notes whatever is not as it should be."""

    def __init__(self, stack: LiveStack, number: int) -> None:
        self.ended: list[DeploymentStatus] = []
        self.answers = 0
        self.faults: list[str] = []
        self.longest = 0.0
        self._stack = stack
        self._connection: Connection = stack.connection
        self._number = number
        self._project = Project(id="", name="", organization_id="")
        self._deployment_id = ""

    async def prepare(self, folder: Path) -> None:
        """Make the project, and put it live once."""
        source = scan(write({"index.html": self._page}, folder / str(self._number)))
        async with self._client() as client:
            self._project = await client.create_project(f"visitor-{self._number}")
            await client.offer_source(self._project.id, source.manifest)
            for digest in {entry.digest for entry in source.manifest.files.values()}:
                await client.upload_blob(digest, self._page)
            assert (await client.offer_source(self._project.id, source.manifest)).snapshot_id
        await self._deploy()

    async def visit(self, enough: asyncio.Event) -> None:
        """Deploy, ask and look at the site, all at once, until it is enough."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as kept, asyncio.TaskGroup() as group:
            group.create_task(self._repeat(enough, self._deploy))
            group.create_task(self._repeat(enough, self._ask))
            group.create_task(self._repeat(enough, lambda: self._ask_over(kept)))
            group.create_task(self._repeat(enough, self._look))

    async def _repeat(self, enough: asyncio.Event, action: Callable[[], Awaitable[None]]) -> None:
        while not enough.is_set():
            try:
                await action()
            except Exception as error:  # noqa: BLE001 - whatever a client sees is what is tested
                self.faults.append(f"visitor {self._number}: {error!r}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _deploy(self) -> None:
        began = monotonic()
        async with self._client() as client:
            accepted = await client.deploy(self._project, self._connection.user_id)
        self._deployment_id = accepted.deployment_id
        async with self._client() as client:
            async for _ in client.follow_events(accepted.deployment_id):
                pass
            self.ended.append(await until(partial(self._end, client, accepted.deployment_id)))
        self.longest = max(self.longest, monotonic() - began)

    async def _end(self, client: Client, deployment_id: str) -> DeploymentStatus | None:
        """The last status; the rows may be a moment behind the journal, which has told of the end."""
        status = await client.status(deployment_id)
        return status if status.has_ended else None

    async def _ask(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            await self._ask_over(client)

    async def _ask_over(self, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {self._connection.token}"}
        url = f"{self._connection.url}/deploy/{self._deployment_id}/status"
        (await client.get(url, headers=headers)).raise_for_status()
        self.answers += 1

    async def _look(self) -> None:
        answer = await self._stack.get(self._project.url)
        if answer.status_code != 200 or answer.content != self._page:
            self.faults.append(f"visitor {self._number}: the site answers {answer.status_code} {answer.text!r}")
        self.answers += 1

    @property
    def _page(self) -> bytes:
        return f"<p>{self._number}</p>".encode()

    def _client(self) -> Client:
        return Client(self._connection.url, self._connection.token)


@asynccontextmanager
async def busy(visitors: list[Visitor]) -> AsyncIterator[None]:
    """Let all visit for the length of a block; what they have begun is finished."""
    enough = asyncio.Event()
    visiting = asyncio.gather(*(visitor.visit(enough) for visitor in visitors))
    try:
        yield
    finally:
        enough.set()
        await asyncio.wait_for(visiting, 60)


async def replace_all(stack: LiveStack) -> None:
    """SIGHUP to `zepid up --processes`; returns when every service is a new process that works."""
    before = {name: stack.pid_of(name) for name in NAMES}
    journal = stack.data_dir / "logs" / "zepid.log"

    async def is_done() -> bool:
        return "rolling restart done" in journal.read_text()

    os.kill(stack.pid, signal.SIGHUP)
    await until(is_done, RESTART_SECONDS)
    assert not [name for name in NAMES if stack.pid_of(name) == before[name]]


async def deliveries(stack: LiveStack) -> dict[str, tuple[int, int | None]]:
    """How often the broker delivered commands of each step, and how many it has to deliver again."""
    bus = await Bus.connect(stack.settings, "test")
    try:
        infos = [await bus.jetstream.consumer_info(stack.settings.deployment_queue_name, name) for name in BY_NAME]
    finally:
        await bus.close()
    return {info.name: (info.delivered.consumer_seq if info.delivered else 0, info.num_redelivered) for info in infos}


async def test_no_client_sees_that_every_service_is_replaced(tmp_path: Path) -> None:
    async with live_stack(tmp_path / "data", "--processes", environ={"LOG_LEVEL": "info"}) as stack:
        visitors = [Visitor(stack, number) for number in range(CLIENTS)]
        for visitor in visitors:
            await visitor.prepare(tmp_path)
        async with busy(visitors):
            await replace_all(stack)
        delivered = await deliveries(stack)
    ended = [status for visitor in visitors for status in visitor.ended]
    assert not [fault for visitor in visitors for fault in visitor.faults]
    assert {status.status for status in ended} == {"completed"}
    assert len(ended) > 2 * CLIENTS
    assert max(visitor.longest for visitor in visitors) < STALL_SECONDS
    attempts = {(status.deployment_id, name): step.attempts for status in ended for name, step in status.steps.items()}
    assert {which: number for which, number in attempts.items() if number != 1} == {}
    # What comes to a worker while it stops goes back at once, and its successor publishes it again.
    for name, (count, again) in delivered.items():
        assert len(ended) <= count <= len(ended) + 2 * CLIENTS, (name, delivered)
        assert again == 0, (name, delivered)
