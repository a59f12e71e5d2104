"""Defects to sow: each takes away one guard that the guarantees rest on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shared.worker
from tests.model.database import Database

_FUNCTIONS = Path(__file__).parents[2] / "shared/adapters/postgres/functions"


def _replace(database: Database, file: str, function: str, guard: str, without: str) -> None:
    """Define one SQL function anew without its guard."""
    source = (_FUNCTIONS / file).read_text()
    start = source.index(f"function {function}(")
    body = source[start : source.index("end $$;", start) + len("end $$;")]
    assert guard in body, f"{function} has no guard {guard!r} any more: sow the defect anew"
    database.run(database.pool.execute(f"create or replace {body.replace(guard, without)}"))


def no_fence(database: Database, patch: pytest.MonkeyPatch) -> None:
    """The pointer follows whoever asks."""
    _replace(database, "sites.sql", "point_site", "and outcome is null and freed_at is null for update", "for update")


def no_journal(database: Database, patch: pytest.MonkeyPatch) -> None:
    """A worker does what it is told, whatever was done before."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(shared.worker, "look_back", nothing)


def outcome_overwritten(database: Database, patch: pytest.MonkeyPatch) -> None:
    """Whoever comes last decides."""
    _replace(database, "outcome.sql", "end_deployment", "d.id = p_id and d.outcome is null", "d.id = p_id")


def acknowledged_first(database: Database, patch: pytest.MonkeyPatch) -> None:
    """The command is off the queue before what follows it is on it."""
    begin = shared.worker.Worker._settle

    async def settle(self: Any, message: Any, *rest: Any) -> bool:
        await message.ack_sync()
        return await begin(self, message, *rest)

    patch.setattr(shared.worker.Worker, "_settle", settle)


Defect = Callable[[Database, pytest.MonkeyPatch], None]
