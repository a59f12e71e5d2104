"""The composition root of a process: settings → connections → services."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg

from shared.adapters.jetstream.bus import Bus
from shared.adapters.jetstream.provision import provision
from shared.adapters.objects import ARTIFACTS, LOGS, open_objects
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.deployments import Deployments
from shared.adapters.postgres.publications import Publications
from shared.adapters.publishers import publishers
from shared.ports import Objects, Publisher
from shared.sealing import Seal
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Resources:
    """What the services of one process share."""

    settings: Settings
    bus: Bus
    pool: asyncpg.Pool
    deployments: Deployments
    artifacts: Objects
    logs: Objects
    seal: Seal

    def publishers(self) -> dict[str, Publisher]:
        """Make the publishers of every target that the settings allow."""
        pointers = Publications(self.settings.postgres_url, self.seal, "cloudflare")
        return publishers(self.settings, self.artifacts, pointers)


@asynccontextmanager
async def open_resources(settings: Settings, name: str) -> AsyncIterator[Resources]:
    """Connect to the broker, the database and the object store; provision the streams.

    `name` tells processes apart where operators look. Raises ZepidError where one does not answer.
    """
    async with AsyncExitStack() as stack:
        bus = await Bus.connect(settings, name)
        stack.push_async_callback(bus.close)
        await provision(bus.client, settings)
        pool = await open_pool(settings.postgres_url)
        stack.push_async_callback(pool.close)
        seal = Seal(settings.encryption_key_list)
        yield Resources(
            settings=settings,
            bus=bus,
            pool=pool,
            deployments=Deployments(pool, seal),
            artifacts=open_objects(settings.object_store_url, ARTIFACTS),
            logs=open_objects(settings.object_store_url, LOGS),
            seal=seal,
        )
