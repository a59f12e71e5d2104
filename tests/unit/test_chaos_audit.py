"""The audit of the chaos benchmark finds what is wrong: each kind of wrong once."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from services.cli.benches.chaos.api import Api
from services.cli.benches.chaos.audit import audit
from services.cli.benches.chaos.facts import Facts
from services.cli.benches.chaos.load import Load, Sent
from services.cli.benches.chaos.orders import Order, plan, source_of
from services.cli.benches.chaos.stack import UNITS
from shared.contracts.errors import ZepidError
from shared.contracts.events import Ended, Succeeded
from shared.contracts.messages import DeadLetter, LogChunk

NOW = datetime.now(UTC)
ORDER = Order("order-1", real=False, supersedes=False, cancelled_after=None, pause=0)
STEPS = ("validate", "sandbox", "sync", "build", "deploy", "cleanup")


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": "d1",
        "project_id": "p1",
        "outcome": "completed",
        "failure": None,
        "freed_at": NOW,
        "shown_finished": True,
        "shown_outcome": "completed",
        "release": "r1",
        "release_id": "r1",
        "releases": 1,
        **changes,
    }


def ended(outcome: str = "completed") -> Ended:
    return Ended(deployment_id="d1", actor="deploy", at=2.0, outcome=outcome)


def good() -> Facts:
    succeeded = [
        Succeeded(deployment_id="d1", actor=step, at=1.0 + number, attempt=1, started_at=1.0)
        for number, step in enumerate(STEPS)
    ]
    return Facts(
        deployments=[row()],
        sites=[{"name": "s1", "project_id": "p1", "release_id": "r1", "confirmed": True}],
        ledger=[{"deployment_id": "d1", "plan": "plan", "settled": "committed"}],
        plans=[{"id": "plan", "deploy_limit": UNITS - 1}],
        repairs={},
        events={"d1": [*succeeded, ended()]},
        chunks={
            "d1": [
                LogChunk(deployment_id="d1", step=step, attempt=1, number=number, lines=())
                for step in STEPS
                for number in range(2)
            ]
        },
        letters=[],
        queued=[],
        unacknowledged={"build": 0},
        unarchived=0,
    )


def failed(code: str) -> dict[str, Any]:
    failure = ZepidError(code, "why").failure("build")
    return row(
        outcome="failed",
        shown_outcome="failed",
        failure={"code": code, "class": failure.failure_class, "message": "why"},
        release=None,
        release_id=None,
        releases=0,
    )


def found_in(facts: Facts, *, shown: str = "completed", called_off: bool = False) -> str:
    load = Load(Api("http://127.0.0.1:1", ""), [], {"d1": Sent(ORDER, 1.0, called_off, shown)})
    return "\n".join(map(str, audit(facts, load, {"kill"})))


def test_a_good_end_has_no_violation() -> None:
    assert found_in(good()) == ""


LETTER = DeadLetter(deployment_id="d1", actor="build", reason="system_error", deliveries=4, died_at=1.0, body="")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"deployments": []}, "was accepted and is not recorded"),
        ({"deployments": [row(outcome=None, shown_outcome=None)]}, "has no outcome"),
        ({"deployments": [row(freed_at=None)]}, "still holds its slot"),
        ({"deployments": [row(shown_outcome="failed")]}, "is completed and shown as failed"),
        ({"events": {"d1": [ended(), ended("failed")]}}, "the journal says ['completed', 'failed']"),
        ({"events": {"d1": []}}, "the journal says nothing"),
        ({"deployments": [row(outcome="cancelled", shown_outcome="cancelled")]}, "nobody asked for it"),
        ({"deployments": [failed("BUILD_COMMAND_FAILED")]}, "which no fault explains"),
        ({"deployments": [failed("DEPLOYMENT_TIMEOUT")]}, "which no fault explains"),
        ({"deployments": [failed("WORKER_LOST")]}, "only 0 of 1 completed"),
        ({"deployments": [row(releases=2)]}, "was released 2 times"),
        ({"deployments": [row(release="r2")]}, "its release is r2"),
        ({"sites": [{"name": "s1", "project_id": "p1", "release_id": "r0", "confirmed": True}]}, "points at r0"),
        ({"sites": [{"name": "s1", "project_id": "p1", "release_id": "r1", "confirmed": False}]}, "not been seen live"),
        ({"ledger": []}, "has no entry in the quota ledger"),
        ({"ledger": [{"deployment_id": "d1", "plan": "plan", "settled": None}]}, "is None, must be committed"),
        ({"plans": [{"id": "plan", "deploy_limit": UNITS}]}, "the ledger says"),
        ({"queued": ["deployment.queue.build.d1"]}, "is still queued"),
        ({"unacknowledged": {"build": 1}}, "never answered"),
        ({"letters": [LETTER]}, "gives no error"),
        ({"chunks": {}}, "the log of validate, attempt 1, is missing"),
        (
            {"chunks": {"d1": [LogChunk(deployment_id="d1", step="build", attempt=1, number=2, lines=())]}},
            "the log of build has a hole before chunk 2",
        ),
    ],
)
def test_what_is_wrong_is_found(changes: dict[str, Any], said: str) -> None:
    assert said in found_in(dataclasses.replace(good(), **changes))


def test_a_client_that_saw_another_end_is_believed() -> None:
    assert "was shown failed over HTTP and is completed" in found_in(good(), shown="failed")


def test_the_same_seed_gives_the_same_orders_and_each_page_names_its_own() -> None:
    plans = plan(40, 7)
    assert plans == plan(40, 7)
    assert plans != plan(40, 8)
    orders = [order for each in plans for order in each.orders]
    assert len({order.marker for order in orders}) == len(orders) == 40
    for order in (next(order for order in orders if order.real), next(order for order in orders if not order.real)):
        manifest, contents = source_of(order)
        assert order.marker.encode() in contents[manifest.files["index.html"].digest]
