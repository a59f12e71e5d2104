"""The model notices when a guard is gone: each defect sown here breaks a promise, and without it none is broken."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model import seeds
from tests.model.database import Database
from tests.model.machine import LifeCycle
from tests.model.seeds import Defect
from tests.model.world import Plan

UNHARMED = ("none", 0)
BUILD_IS_NEXT, DEPLOY_IS_NEXT = 3, 4


def a_late_worker_flips_the_pointer(life: LifeCycle) -> None:
    life.deliver([(0, Plan(stopped=True), UNHARMED)])
    life.cancel(0, heard=False, fate=UNHARMED)
    life.wake(0, "go on late")


def a_worker_dies_before_it_acknowledges(life: LifeCycle) -> None:
    life.deliver([(0, Plan(), ("before", 3))])
    life.deliver([(0, Plan(), UNHARMED)])


def a_worker_dies_before_it_publishes_what_follows(life: LifeCycle) -> None:
    life.deliver([(0, Plan(), ("after", 1))])


def a_worker_dies_after_it_went_back(life: LifeCycle) -> None:
    life.deliver([(0, Plan("back"), ("before", 4))])
    life.deliver([(0, Plan(slow=True), UNHARMED)])
    life.deliver([(1, Plan(slow=True), UNHARMED)])


def a_worker_completes_what_was_cancelled(life: LifeCycle) -> None:
    life.deliver([(0, Plan(), ("pause", 3))])
    life.cancel(0, heard=False, fate=UNHARMED)
    life.wake(0, "go on")


Story = Callable[[LifeCycle], None]
STORIES: list[tuple[Defect, int, Story]] = [
    (seeds.no_fence, DEPLOY_IS_NEXT, a_late_worker_flips_the_pointer),
    (seeds.no_journal, BUILD_IS_NEXT, a_worker_dies_before_it_acknowledges),
    (seeds.no_journal, BUILD_IS_NEXT, a_worker_dies_after_it_went_back),
    (seeds.outcome_overwritten, DEPLOY_IS_NEXT, a_worker_completes_what_was_cancelled),
    (seeds.acknowledged_first, BUILD_IS_NEXT, a_worker_dies_before_it_publishes_what_follows),
]


def told(database: Database, worked: int, story: Story) -> None:
    life = LifeCycle(database)
    life.begin(["p-1"])
    life.advance(worked)
    life.holds()
    story(life)
    life.holds()
    life.teardown()


@pytest.mark.parametrize(("defect", "worked", "story"), STORIES)
def test_a_story_ends_well_only_with_its_guard(
    defect: Defect, worked: int, story: Story, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(database, worked, story)
    defect(database, monkeypatch)
    with pytest.raises(AssertionError):
        told(database, worked, story)


@pytest.mark.parametrize("defect", [seeds.no_journal, seeds.outcome_overwritten, seeds.acknowledged_first])
def test_a_random_search_finds_a_missing_guard(
    defect: Defect, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    defect(database, monkeypatch)
    found = settings(
        max_examples=1000,
        stateful_step_count=25,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(lambda: LifeCycle(database), settings=found)
