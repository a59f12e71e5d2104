"""Orders of one moment share a transaction, and nothing else: neither a refusal nor a fault, nor a lock in a circle."""

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from shared.adapters.postgres.acceptance import MOST_AT_ONCE, Order, Verdict
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.deployments import Deployments

ORGANIZATIONS = 8
_PLANS = """
insert into subscription_limit (id, organization_id, plan_id, plan_name, ai_nums, enhance_nums, upload_limit,
  deploy_limit, period_start, period_end)
select 'plan-' || number, 'org-' || number, 'pro', 'pro', 0, 0, 0, $2, now(), now() + interval '30 days'
from generate_series(0, $1 - 1) number
"""


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    opened = await open_pool(database_url)
    try:
        yield opened
    finally:
        await opened.close()


async def projects(pool: asyncpg.Pool, count: int) -> list[tuple[str, str]]:
    """Make projects of organisations that have a plan with one unit for each; return both ids."""
    made = [(f"p-{uuid4().hex}", f"org-{number % ORGANIZATIONS}") for number in range(count)]
    await pool.executemany(
        "insert into project (id, name, template_type, user_id, organization_id) values ($1, $1, 'v', 'u', $2)", made
    )
    await pool.execute(_PLANS, ORGANIZATIONS, count // ORGANIZATIONS)
    return made


def order(project: tuple[str, str], **more: str) -> Order:
    given = {"id": f"deploy_{uuid4().hex}", "project_id": project[0], "organization_id": project[1], "user_id": "u"}
    return Order(max_waiting=1_000, **{**given, **more})


async def test_gateways_that_order_everything_twice_at_once_accept_each_once_and_never_wait_in_a_circle(pool):
    made = await projects(pool, 160)
    gateways = [Deployments(pool), Deployments(pool)]
    orders = [(gateway, order(project)) for gateway in gateways for project in made]
    random.Random(1).shuffle(orders)
    async with asyncio.timeout(60):
        verdicts = await asyncio.gather(*(gateway.accept(wanted) for gateway, wanted in orders))
    assert sorted(verdict.verdict for verdict in verdicts) == ["accepted"] * 160 + ["in_progress"] * 160
    assert await pool.fetchval("select sum(deploy_limit) from subscription_limit") == 0
    assert await pool.fetchval("select count(*) from quota_ledger") == 160
    assert await pool.fetchval("select deadlocks from pg_stat_database where datname = current_database()") == 0
    transactions = await pool.fetchval("select count(distinct xmin::text) from deployment")
    assert 160 / MOST_AT_ONCE <= transactions < 80


async def test_an_order_that_the_database_refuses_takes_no_other_with_it(pool):
    made = await projects(pool, 24)
    deployments = Deployments(pool)
    orders = [order(project) for project in made[:-1]]
    broken = order(made[-1], user_id="\0")
    verdicts = await asyncio.gather(
        *map(deployments.accept, [*orders[:11], broken, *orders[11:]]), return_exceptions=True
    )
    refused = verdicts.pop(11)
    assert isinstance(refused, asyncpg.PostgresError)
    assert [verdict.deployment_id for verdict in verdicts if isinstance(verdict, Verdict)] == [o.id for o in orders]


async def test_an_order_that_waits_for_a_lock_of_its_own_holds_up_nobody(pool):
    """Another request with its key is being answered."""
    made = await projects(pool, ORGANIZATIONS)
    deployments = Deployments(pool)
    async with pool.acquire() as elsewhere, elsewhere.transaction():
        await elsewhere.execute("select first_answer($1, 'once', '')", made[0][1])
        keyed = asyncio.create_task(deployments.accept(order(made[0], key="once", body_digest="00")))
        others = await asyncio.gather(*(deployments.accept(order(project)) for project in made[1:]))
        assert [other.verdict for other in others] == ["accepted"] * (ORGANIZATIONS - 1)
        assert not keyed.done()
    assert (await keyed).verdict == "accepted"


@pytest.mark.parametrize("count", [1, 3])
async def test_a_caller_who_goes_away_takes_no_other_with_it(pool, count):
    made = await projects(pool, ORGANIZATIONS)
    deployments = Deployments(pool)
    asked = [asyncio.create_task(deployments.accept(order(project))) for project in made]
    await asyncio.sleep(0)
    for gone in asked[:count]:
        gone.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[:count])
    assert [answer.verdict for answer in answers[count:] if isinstance(answer, Verdict)] == ["accepted"] * (8 - count)
    assert await pool.fetchval("select count(*) from deployment") == 8
