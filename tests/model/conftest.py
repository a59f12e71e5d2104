"""One database for all examples of a test."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.model.database import Database
from tests.model.world import quicken


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    quicken(monkeypatch)
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    made = Database(database_url)
    try:
        yield made
    finally:
        made.close()
        structlog.configure(**before)
