"""Random interleavings of everything that may happen to deployments leave every promise kept."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.database import Database
from tests.model.machine import LifeCycle

STEPS_TO_THE_END = 6


@pytest.mark.timeout(600)
def test_no_interleaving_breaks_a_promise(database: Database) -> None:
    searching = settings(
        max_examples=500,
        stateful_step_count=25,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: LifeCycle(database), settings=searching)


@pytest.mark.parametrize("worked", [0, STEPS_TO_THE_END], ids=["admission", "end"])
def test_what_a_database_forgot_in_a_crash_is_made_up_for(worked: int, database: Database) -> None:
    life = LifeCycle(database)
    life.begin(["p-1"])
    life.advance(worked)
    life.holds()
    life.befall("database crash", 0)
    life.advance(STEPS_TO_THE_END)
    life.holds()
    life.teardown()
