"""The connection pool and the named queries of `sql/`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiosql
import asyncpg
import msgspec
from aiosql.adapters.asyncpg import AsyncPGAdapter

from shared.contracts.errors import ZepidError

CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionRefusedError,
    ConnectionResetError,
)
"""What asyncpg raises when the server cut a connection or takes none."""
DATABASE_AWAY = (*CONNECTION_LOST, OSError)
"""What asyncpg raises when the database is away rather than wrong."""
DATABASE_FAILED = (*DATABASE_AWAY, asyncpg.PostgresError)
"""What asyncpg raises when there is no answer; time running out is an OSError among them."""


async def open_pool(url: str, *, size: int = 10) -> asyncpg.Pool:
    """Open a pool whose connections read and write `jsonb` as plain data.

    Raises:
        ZepidError: SERVICE_UNAVAILABLE, the database does not answer.
    """

    async def prepare(connection: asyncpg.Connection) -> None:
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=_encode_json, decoder=msgspec.json.decode, format="text"
        )

    async def leave_as_it_is(connection: asyncpg.Connection) -> None:
        """Spare the round trip that would reset a session whose settings nobody changes."""

    try:
        return await asyncpg.create_pool(
            url, min_size=1, max_size=size, init=prepare, reset=leave_as_it_is, command_timeout=30
        )
    except DATABASE_FAILED as error:
        raise ZepidError("SERVICE_UNAVAILABLE", f"the database at POSTGRES_URL does not answer: {error}") from error


class _Adapter(AsyncPGAdapter):
    """Asks a pool directly; aiosql would look through all its attributes first to find out that it is one."""

    async def select_one(self, conn: Any, query_name: str, sql: str, parameters: Any, record_class: Any = None) -> Any:
        return await conn.fetchrow(sql, *self._ordered(query_name, parameters))

    async def select_value(self, conn: Any, query_name: str, sql: str, parameters: Any) -> Any:
        return await conn.fetchval(sql, *self._ordered(query_name, parameters))

    def _ordered(self, query_name: str, parameters: Mapping[str, Any]) -> list[Any]:
        return [parameters[name] for name in self.var_sorted[query_name]]


def load_queries(name: str) -> Any:
    """Load the named queries of `sql/<name>.sql`."""
    return aiosql.from_path(Path(__file__).parent / "sql" / f"{name}.sql", _Adapter, mandatory_parameters=False)


def _encode_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
