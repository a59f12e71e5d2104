"""The rows that the projector alone writes, and its position in the journal."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries
from shared.projection import Progress

_NAME = "status"
_PREPARING = ("validate", "sandbox")


class Position(msgspec.Struct, frozen=True):
    """How far the journal is projected: of which stream, up to which sequence."""

    stream_created: datetime
    sequence: int
    rebuild: bool


class Projections:
    """Reads and writes `deployment_progress`, `deployment_step` and the project's status word."""

    def __init__(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        self._connection = connection
        self._sql: Any = load_queries("projections")

    async def position(self) -> Position | None:
        """Return the committed position, or None before the first start."""
        row = await self._sql.position(self._connection, name=_NAME)
        return msgspec.convert(dict(row), Position) if row else None

    async def start(self, stream_created: datetime) -> None:
        """Begin at the start of a stream that was not seen before."""
        await self._sql.start(self._connection, name=_NAME, stream_created=stream_created)

    async def ask_for_rebuild(self) -> None:
        """Tell whichever projector is active to make the rows again."""
        await self._sql.ask_for_rebuild(self._connection, name=_NAME)

    async def rebuilt(self) -> None:
        """Note that the rows were made again."""
        await self._sql.rebuilt(self._connection, name=_NAME)

    async def load(self, deployment_ids: Iterable[str]) -> dict[str, Progress]:
        """Return what is projected of these deployments."""
        rows = self._sql.load(self._connection, ids=list(deployment_ids))
        return {row["deployment_id"]: msgspec.convert(dict(row), Progress) async for row in rows}

    async def save(self, changed: dict[str, Progress], sequence: int, *, tell_project: bool) -> None:
        """Write the rows and the position; call inside a transaction."""
        await self._sql.save_progress(self._connection, [_progress_row(progress) for progress in changed.values()])
        await self._sql.save_step(
            self._connection, [row for progress in changed.values() for row in _step_rows(progress)]
        )
        if tell_project:
            await self._sql.save_project(
                self._connection,
                [{"deployment_id": key, "status": _project_status(progress)} for key, progress in changed.items()],
            )
        await self._sql.advance(self._connection, name=_NAME, sequence=sequence)


def _progress_row(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in progress.__struct_fields__ if name != "steps"}


def _step_rows(progress: Progress) -> list[dict[str, Any]]:
    return [
        {"deployment_id": progress.deployment_id, "step": name}
        | {field: getattr(state, field) for field in state.__struct_fields__}
        for name, state in progress.steps.items()
    ]


def _project_status(progress: Progress) -> str:
    if progress.finished:
        return "deployed" if progress.outcome == "completed" else "failed"
    return "preparing" if progress.stage in _PREPARING else "deploying"
