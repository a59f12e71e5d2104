"""Old rows of the audit log and of webhook deliveries are removed, some at a time, and counted."""

import asyncio
import time

import pytest

from services.reconciler import forgetting
from services.reconciler.forgetting import remove_old
from shared.adapters.postgres.audit import Audit, AuditEntry, entry_id
from shared.adapters.postgres.overview import Overview
from shared.resources import Resources

DAY = 86_400


def entry(days_ago: float) -> AuditEntry:
    at = time.time() - days_ago * DAY
    return AuditEntry(
        id=entry_id(at), at=at, organization_id="o", actor="a", user_id="u", action="POST /deploy", subjects={},
        status=200, request_id="r",
    )  # fmt: skip


async def delivered(resources: Resources, days_ago: float) -> None:
    await resources.pool.execute(
        "insert into webhook_delivery (id, webhook_id, event, payload, status, created_at)"
        " values (gen_random_uuid(), 'hook', 'test', '{}', 'delivered', now() - make_interval(secs => $1))",
        days_ago * DAY,
    )


async def test_old_rows_go_new_ones_stay_and_the_figures_say_so(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "AT_ONCE", 3)
    audit = Audit(resources.pool)
    await audit.record([entry(days) for days in (400, 300, 200, 100, 92, 91, 91, 89, 1, 0)])
    for days in (31, 40, 29, 0):
        await delivered(resources, days)
    await remove_old(resources, asyncio.Event())
    kept = await audit.page(None, None, None, None, 20)
    assert [round((time.time() - row.at) / DAY) for row in kept] == [0, 1, 89]
    assert await resources.pool.fetchval("select count(*) from webhook_delivery") == 2
    assert await Overview(resources.pool).removals() == {"audit": 7, "webhook_deliveries": 2}
    await remove_old(resources, asyncio.Event())
    assert await Overview(resources.pool).removals() == {"audit": 7, "webhook_deliveries": 2}


async def test_a_round_reads_only_the_oldest_entries(resources: Resources) -> None:
    audit = Audit(resources.pool)
    await audit.record([entry(1) for _ in range(2_000)])
    await resources.pool.execute("analyze audit")
    plan = await resources.pool.fetch("explain select id, at from audit order by id limit 100")
    assert "audit_pkey" in str(plan)
    assert await audit.remove_old(90 * DAY, 100) == 0


async def test_it_stops_between_two_rounds(resources: Resources) -> None:
    await Audit(resources.pool).record([entry(100)])
    stopping = asyncio.Event()
    stopping.set()
    await remove_old(resources, stopping)
    assert await Overview(resources.pool).removals() == {}
