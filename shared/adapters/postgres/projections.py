"""The rows that the projector alone writes, and its position in the journal."""

from collections.abc import Iterable, Mapping
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

    async def wants_rebuild(self) -> bool:
        """Whether someone asked for the rows to be made again."""
        position = await self.position()
        return position is not None and position.rebuild

    async def rebuilt(self) -> None:
        """Note that the rows were made again."""
        await self._sql.rebuilt(self._connection, name=_NAME)

    async def load(self, deployment_ids: Iterable[str]) -> dict[str, Progress]:
        """Return what is projected of these deployments."""
        rows = self._sql.load(self._connection, ids=list(deployment_ids))
        return {row["deployment_id"]: msgspec.convert(dict(row), Progress) async for row in rows}

    async def save(
        self, changed: Mapping[str, tuple[Progress | None, Progress]], sequence: int, *, tell_project: bool
    ) -> bool:
        """Write what changed, and the position, in one statement; return whether a rebuild is asked for.

        Args:
            changed: by deployment, the progress before and now; unchanged steps are not written.
            sequence: the journal is projected up to here.
            tell_project: whether the projects' own status word follows.
        """
        row = await self._sql.save(
            self._connection,
            name=_NAME,
            sequence=sequence,
            progress=[_progress_row(now) for _, now in changed.values()],
            steps=[row for before, now in changed.values() for row in _step_rows(before, now)],
            projects=[
                {"deployment_id": now.deployment_id, "status": _project_status(now)}
                for before, now in changed.values()
                if tell_project and (before is None or _project_status(before) != _project_status(now))
            ],
        )
        return bool(row["rebuild"])


def _progress_row(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in progress.__struct_fields__ if name != "steps"}


def _step_rows(before: Progress | None, now: Progress) -> list[dict[str, Any]]:
    known = before.steps if before else {}
    return [
        {"deployment_id": now.deployment_id, "step": name}
        | {field: getattr(state, field) for field in state.__struct_fields__}
        for name, state in now.steps.items()
        if known.get(name) != state
    ]


def _project_status(progress: Progress) -> str:
    if progress.finished:
        return "deployed" if progress.outcome == "completed" else "failed"
    return "preparing" if progress.stage in _PREPARING else "deploying"
