"""Services side by side, and waiting for dependencies that are away."""

import asyncio

import asyncpg
import pytest

from shared.contracts.errors import ZepidError
from shared.outage import insist
from shared.service import CannotStart, run_together
from shared.telemetry import current_traceparent

AWAY = asyncpg.ConnectionDoesNotExistError("cut")


class Steady:
    """Runs until told to stop."""

    stopped = False

    async def run(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self.stopped = True


class Failing:
    """Raises what it is given, one a run, then runs until told to stop."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.steady = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.steady.set()
        await stopping.wait()


async def test_a_defect_of_one_service_ends_no_other_and_it_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.service._AGAIN_SECONDS", 0.01)
    steady, failing, stopping = Steady(), Failing(ZeroDivisionError(), AWAY), asyncio.Event()
    running = asyncio.create_task(run_together({"steady": steady, "failing": failing}, stopping))
    await asyncio.wait_for(failing.steady.wait(), 5)
    assert not steady.stopped
    stopping.set()
    await asyncio.wait_for(running, 5)
    assert steady.stopped


async def test_a_service_that_cannot_start_ends_all_and_says_why() -> None:
    steady = Steady()
    failing = Failing(CannotStart("SERVICE_UNAVAILABLE", "the port is taken"))
    with pytest.raises(CannotStart, match="the port is taken"):
        await asyncio.wait_for(run_together({"steady": steady, "failing": failing}, asyncio.Event()), 5)
    assert steady.stopped


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.outage._AGAIN_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
async def test_what_waits_for_a_dependency_goes_on_when_it_is_back() -> None:
    raised: list[Exception] = [AWAY, ZepidError("QUEUE_SEND_FAILED", "away"), ConnectionRefusedError()]

    async def effect() -> str:
        if raised:
            raise raised.pop()
        return "stored"

    assert await insist(effect) == "stored"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [ZepidError("NOT_FOUND", "no such deployment"), ValueError("a defect")])
async def test_what_no_waiting_can_mend_is_raised_at_once(error: Exception) -> None:
    tries: list[int] = []

    async def effect() -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        await insist(effect)
    assert len(tries) == 1


@pytest.mark.usefixtures("quick")
async def test_an_outage_that_does_not_end_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.outage.OUTAGE_SECONDS", 0.05)

    async def effect() -> None:
        raise AWAY

    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await insist(effect)


def test_a_trace_goes_on_and_nonsense_starts_a_new_one() -> None:
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert current_traceparent(given) == given
    for nonsense in ("", "nonsense", "00-zz-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01"):
        made = current_traceparent(nonsense)
        assert made != nonsense
        assert len(made) == len(given)
