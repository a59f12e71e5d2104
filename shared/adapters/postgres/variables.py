"""A project's environment variables: written here, read by the build step alone."""

from collections.abc import Mapping

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries
from shared.sealing import Seal
from shared.variables import MOST_BYTES, MOST_VARIABLES


class VariableRow(msgspec.Struct, frozen=True):
    """What may be known of a variable; `updated_at` in seconds since 1970."""

    name: str
    updated_at: float


class Variables:
    """The table `project_variable`; values go in and never come out."""

    def __init__(self, pool: asyncpg.Pool, seal: Seal) -> None:
        self._pool = pool
        self._seal = seal
        self._sql = load_queries("variables")

    async def change(self, project_id: str, changes: Mapping[str, str | None], *, replace: bool = False) -> str:
        """Set variables, or remove those whose value is None; with `replace` all others are removed, too.

        Returns:
            `changed`; or `too_many` or `too_large`, and nothing was changed.

        Raises:
            ZepidError: ENCRYPTION_KEY_MISSING, nothing was changed.
        """
        verdict = await self._sql.change(
            self._pool,
            project_id=project_id,
            changes={name: None if value is None else self._sealed(value) for name, value in changes.items()},
            replace=replace,
            most=MOST_VARIABLES,
            most_bytes=MOST_BYTES,
        )
        return str(verdict)

    async def list(self, project_id: str) -> list[VariableRow]:
        """Return the project's variables by name, without values."""
        rows = self._sql.listed(self._pool, project_id=project_id)
        return msgspec.convert([dict(row) async for row in rows], list[VariableRow])

    def _sealed(self, value: str) -> dict[str, str | int]:
        return {"value": self._seal.seal(value), "size": len(value.encode())}
