"""Real servers for tests: a broker for each test, a database of its own on one server a session."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from infra.dev.nats import NatsServer
from infra.dev.postgres import PostgresServer


@pytest_asyncio.fixture
async def nats_process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    """A broker of the test's own, as a process that the test may stop, kill and start."""
    server = NatsServer(tmp_path_factory.mktemp("broker"), durable=False)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
def nats_server(nats_process: NatsServer) -> str:
    """The URL of a broker of the test's own."""
    return nats_process.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """One PostgreSQL for the whole session, without fsync; tests use `database_url`."""
    server = PostgresServer(tmp_path_factory.mktemp("database"), durable=False)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of a database with our schema and no rows, migrated once a session."""
    from shared.adapters.postgres.migrate import migrate

    await migrate(postgres_server.url)
    return postgres_server.url.rpartition("/")[2]


@pytest_asyncio.fixture
async def database_url(postgres_server: PostgresServer, migrated_template: str) -> AsyncIterator[str]:
    """The URL of a database of the test's own, with our schema; dropped afterwards."""
    name = f"test_{uuid4().hex}"
    server = await asyncpg.connect(postgres_server.url_of("postgres"))
    try:
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        try:
            yield postgres_server.url_of(name)
        finally:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often fuzzing tries each operation: a few times in every run, `--cases 150` for the full form."""
    parser.addoption("--cases", type=int, default=4, help="cases per operation that tests of the HTTP contract make")
