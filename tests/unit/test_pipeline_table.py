"""The table is the policy: what else names the steps must agree with it."""

import importlib.metadata
from pathlib import Path

import pytest

import services.steps
from services.steps.loader import load_handlers
from shared.adapters.jetstream.provision import consumers
from shared.pipeline import ACTORS, STEPS, backoff_scale, backoff_seconds, following
from shared.settings import load_settings


def test_every_step_has_a_folder_and_every_folder_a_step() -> None:
    root = Path(services.steps.__file__).parent
    folders = {path.parent.name for path in root.glob("*/handler.py")}
    assert folders == {step.name for step in STEPS}
    assert load_handlers().keys() == folders


def test_every_actor_has_a_consumer_with_the_retries_of_the_settings() -> None:
    made = {config.durable_name: config for stream, config in consumers(load_settings({})) if "queue" in stream}
    assert set(made) == set(ACTORS)
    assert {made[step.name].max_deliver for step in STEPS} == {4}


def test_progress_grows_to_100_and_one_step_concludes_right_before_cleanup() -> None:
    assert [step.progress for step in STEPS] == sorted({step.progress for step in STEPS})
    assert STEPS[-1].progress == 100
    assert [step.concludes for step in STEPS] == [False] * (len(STEPS) - 2) + [True, False]
    assert STEPS[-1].cleans_up
    assert following("validate") == STEPS[1]
    assert following(STEPS[-2].name) is None


def test_no_other_distribution_owns_our_import_roots() -> None:
    owners = importlib.metadata.packages_distributions()
    for root in ("services", "shared", "infra"):
        assert set(owners.get(root, [])) <= {"zepid-deploy"}


@pytest.mark.parametrize(("retries", "deadline"), [(0, 600), (3, 600), (20, 600), (20, 60), (3, 1)])
def test_all_delays_together_stay_under_half_the_deadline(retries: int, deadline: float) -> None:
    scale = backoff_scale(retries, deadline)
    delays = [backoff_seconds(number) * scale for number in range(1, retries + 1)]
    assert len(STEPS) * sum(delays) <= deadline / 2 + 1e-9
    assert delays == sorted(delays)
