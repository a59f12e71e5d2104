"""One running `zepid up` for all tests that only need somewhere to deploy to."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.live import LiveStack, live_stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveStack]:
    """A stack with data of its own, started once a session (with xdist: once a worker).

    Only this fixture starts and stops it; `deploy`, `get`, `connection` and `settings` serve tests
    in any event loop. Tests deploy folders of their own, so that no two share a project.
    """
    async with live_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack
