"""A gateway of the test's own, and one running `zepid up` for all tests that only need somewhere to deploy to."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from shared.adapters.postgres.tokens import Tokens
from shared.resources import Resources, open_resources
from shared.settings import Settings
from tests.live import LiveStack, live_stack
from tests.stand import DEADLINE, Stand, serving


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveStack]:
    """A stack with data of its own, started once a session (with xdist: once a worker).

    Only this fixture starts and stops it; `deploy`, `get`, `connection` and `settings` serve tests
    in any event loop. Tests deploy folders of their own, so that no two share a project.
    """
    async with live_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest_asyncio.fixture
async def resources(nats_server: str, database_url: str, tmp_path) -> AsyncIterator[Resources]:
    settings = Settings(
        nats_url=nats_server,
        postgres_url=database_url,
        object_store_url=f"file://{tmp_path}/objects",
        deploy_rate_limit=1_000,
    )
    async with open_resources(settings, "test") as resources:
        yield resources


@pytest_asyncio.fixture
async def stand(resources: Resources) -> AsyncIterator[Stand]:
    _, token = await Tokens(resources.pool).create("test", ["deploy"], "acme", "ada")
    headers = {"authorization": f"Bearer {token}"}
    async with (
        serving(resources) as (gateway, url),
        httpx.AsyncClient(base_url=url, headers=headers, timeout=DEADLINE) as client,
    ):
        yield Stand(gateway, url, client, resources, token)
