"""Bring a database to the schema of this version: forward only, safe to run from every process."""

import hashlib
from pathlib import Path
from typing import Any

import asyncpg

_HERE = Path(__file__).parent
_LOCK = "select pg_advisory_lock(hashtext('zepid.migrate'))"
_UNLOCK = "select pg_advisory_unlock(hashtext('zepid.migrate'))"


async def migrate(url: str) -> None:
    """Apply missing migrations, then the guarded functions where they changed.

    Args:
        url: DSN of the database.

    Raises:
        asyncpg.PostgresError, OSError: the database refused or is away.
    """
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_LOCK)
        if await _revision(connection) != _head():
            await _upgrade(url)
        await _replace_functions(connection)
        await connection.execute(_UNLOCK)
    finally:
        await connection.close()


def run_statements(bind: Any, path: Path) -> None:
    """Run a file of SQL statements on Alembic's connection (called by the migrations)."""
    from sqlalchemy.util import await_only

    await_only(bind.connection.driver_connection.execute(path.read_text()))


async def _revision(connection: asyncpg.Connection) -> str | None:
    known = await connection.fetchval("select to_regclass('alembic_version') is not null")
    return await connection.fetchval("select version_num from alembic_version") if known else None


def _head() -> str:
    return max(path.stem.split("_")[0] for path in (_HERE / "migrations/versions").glob("*.sql"))


async def _upgrade(url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import Connection, NullPool
    from sqlalchemy.ext.asyncio import create_async_engine

    config = Config()
    config.set_main_option("script_location", str(_HERE / "migrations"))
    config.set_main_option("path_separator", "os")

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    engine = create_async_engine("postgresql+asyncpg://" + url.split("://", 1)[1], poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()


async def _replace_functions(connection: asyncpg.Connection) -> None:
    statements = "\n".join(path.read_text() for path in sorted((_HERE / "functions").glob("*.sql")))
    digest = hashlib.sha256(statements.encode()).hexdigest()
    current = await connection.fetchval(
        "select obj_description(oid, 'pg_proc') from pg_proc where proname = 'accept_deployment'"
    )
    if current == digest:
        return
    async with connection.transaction():
        await connection.execute(statements)
        await connection.execute(f"comment on function accept_deployment is '{digest}'")
