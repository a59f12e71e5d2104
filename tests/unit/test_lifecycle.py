"""The life cycle as written down agrees with what the SQL functions do, and an audit by it finds what breaks it."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from shared.adapters.postgres.acceptance import Order
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.deployments import Deployments
from shared.contracts.errors import ZepidError
from shared.lifecycle import OUTCOMES, TRANSITIONS, State, may, reachable, state_of, violations
from shared.pipeline import STEPS

FAILURE = ZepidError("CANCELLED", "on purpose").failure("validate")
EARLY = datetime(2026, 1, 1, tzinfo=UTC)
SERVICES = {"gateway", "intake", "dead-letter", "reconciler"}


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    opened = await open_pool(database_url, size=2)
    try:
        yield opened
    finally:
        await opened.close()


async def deployment_in(state: State, outcome: str, pool: asyncpg.Pool) -> str:
    """Bring a deployment of a new project to a state by the functions alone."""
    deployments = Deployments(pool)
    project, deployment = f"p-{uuid4().hex[:8]}", f"deploy_{uuid4().hex}"
    await pool.execute(
        "insert into project (id, name, template_type, user_id, organization_id) values ($1, $1, 'v', 'u', $1)", project
    )
    verdict = await deployments.accept(
        Order(
            id=deployment,
            project_id=project,
            organization_id=project,
            user_id="u",
            priority=5,
            target="local",
            snapshot_id=None,
            traceparent="",
            max_waiting=10,
        )
    )
    assert verdict.verdict == "accepted"
    if state is not State.WAITING:
        await deployments.admit(1_000, 1_000, 600.0)
    if state in (State.ENDED, State.FREED):
        await decide(deployments, deployment, outcome)
    if state is State.FREED:
        await deployments.free(deployment)
    return deployment


async def decide(deployments: Deployments, deployment: str, outcome: str) -> None:
    await deployments.end(deployment, outcome, None if outcome == "completed" else FAILURE)


async def row_of(pool: asyncpg.Pool, deployment: str) -> dict[str, Any]:
    return dict(await pool.fetchrow("select * from deployment where id = $1", deployment))


@pytest.mark.parametrize("start", [*State])
@pytest.mark.parametrize("function", ["admit_deployments", "free_deployment", *OUTCOMES])
async def test_a_function_does_what_is_written_or_nothing(start: State, function: str, pool: asyncpg.Pool) -> None:
    deployments = Deployments(pool)
    deployment = await deployment_in(start, "failed", pool)
    before = await row_of(pool, deployment)
    assert state_of(before) is start
    match function:
        case "admit_deployments":
            await deployments.admit(1_000, 1_000, 600.0)
        case "free_deployment":
            await deployments.free(deployment)
        case outcome:
            await decide(deployments, deployment, outcome)
    after = await row_of(pool, deployment)
    outcome, by = (function, "end_deployment") if function in OUTCOMES else ("", function)
    arrows = [one for one in TRANSITIONS if (one.before, one.by, one.outcome) == (start, by, outcome)]
    if (start, function) == (State.WAITING, "completed"):
        assert not arrows, "nobody completes what was never started: the steps that could have no command of it"
    elif arrows:
        assert {state_of(after)} == {arrow.after for arrow in arrows}
        assert after["outcome"] == (outcome or before["outcome"])
    else:
        assert after == before
    assert not violations([before], [after])


async def test_acceptance_makes_a_waiting_deployment(pool: asyncpg.Pool) -> None:
    row = await row_of(pool, await deployment_in(State.WAITING, "", pool))
    assert state_of(row) is State.WAITING
    assert may(None, State.WAITING, "gateway")


def test_every_arrow_names_known_actors_and_every_state_leads_to_the_end() -> None:
    known = SERVICES | {step.name for step in STEPS}
    assert {actor for arrow in TRANSITIONS for actor in arrow.actors} == known
    assert reachable(None) == set(State)
    assert all(State.FREED in reachable(state) for state in State)
    assert reachable(State.FREED) == {State.FREED}


def test_only_the_concluding_step_completes_and_only_cleanup_frees() -> None:
    ending = (State.ADMITTED, State.ENDED)
    assert {step.name for step in STEPS if may(*ending, step.name, "completed")} == {"deploy"}
    assert may(*ending, "build", "failed")
    assert not may(*ending, "cleanup", "failed")
    assert [step.name for step in STEPS if may(State.ENDED, State.FREED, step.name)] == ["cleanup"]
    assert not may(State.ENDED, State.ADMITTED, "intake")


def made(**changes: Any) -> dict[str, Any]:
    """A row as an audit reads it: admitted, unless told otherwise."""
    empty: dict[str, Any] = dict.fromkeys(("outcome", "failure", "release_id", "ended_at", "freed_at"))
    moments = {"accepted_at": EARLY, "admitted_at": EARLY + timedelta(seconds=1)}
    return {"id": "deploy_1", "project_id": "p", **empty, **moments, **changes}


ENDED = {"outcome": "completed", "ended_at": EARLY + timedelta(seconds=2), "release_id": "rel_1"}
FREED = {**ENDED, "freed_at": EARLY + timedelta(seconds=3)}


def test_a_life_by_the_book_breaks_no_rule() -> None:
    lives = [made(admitted_at=None), made(), made(**ENDED), made(**FREED)]
    for before, after in itertools.pairwise(lives):
        assert violations([before], [after]) == []
    assert violations([], [made(), made(id="deploy_2", project_id="other")]) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (made(**ENDED), made(**{**ENDED, "outcome": "failed", "failure": {}}), "had outcome completed and has failed"),
        (made(**ENDED), made(), "went from ended to admitted"),
        (made(**FREED), made(**ENDED), "went from freed to ended"),
        (made(), made(admitted_at=None), "went from admitted to waiting"),
        (made(), made(id="deploy_2"), "deploy_1 is gone"),
        (made(), made(freed_at=EARLY + timedelta(seconds=9)), "freed without an outcome"),
        (made(), made(**{**ENDED, "outcome": "failed"}), "outcome failed and the failure None"),
        (made(), made(**{**FREED, "freed_at": EARLY}), "moments out of order"),
    ],
    ids=["outcome", "ended", "freed", "admitted", "gone", "freed early", "unexplained", "moments"],
)
def test_an_audit_says_what_broke_the_rules(before: dict[str, Any], after: dict[str, Any], said: str) -> None:
    assert any(said in sentence for sentence in violations([before], [after]))


def test_an_audit_finds_two_of_one_project() -> None:
    two = [made(), made(id="deploy_2")]
    assert len(violations([], two)) == 2
    waiting = made(id="deploy_2", admitted_at=None)
    assert violations([], [made(**ENDED), waiting]) == []
