"""`zepid cancel` and `zepid retry` against a service over real HTTP."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cli_service import TOKEN, Service, serving
from test_cli_main import run_zepid, start_zepid


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with serving(Service(outcome="cancelled")) as running:
        monkeypatch.setenv("ZEPID_URL", running.url)
        monkeypatch.setenv("ZEPID_TOKEN", TOKEN)
        yield running


async def test_cancel_waits_for_the_end_and_says_how_to_deploy_again(service: Service) -> None:
    code, out, err = await run_zepid("cancel", "deploy_1")

    assert (code, err) == (0, "")
    assert out == "deploy_1 cancelled after 1.23 s. Deploy it again: zepid retry deploy_1\n"
    assert service.requests == [
        "POST /deploy/deploy_1/cancel",
        "GET /deploy/deploy_1/events",
        "GET /deploy/deploy_1/status",
    ]


async def test_cancel_prints_json_and_need_not_wait(service: Service) -> None:
    waited = await run_zepid("cancel", "deploy_1", "--json")
    at_once = await run_zepid("cancel", "deploy_1", "--no-wait", "--json")

    assert msgspec.json.decode(waited[1])["steps"].keys() >= {"build", "cleanup"}
    assert msgspec.json.decode(at_once[1]) == {
        "deploymentId": "deploy_1",
        "status": "cancelled",
        "message": "Deployment cancelled",
    }
    assert "GET /deploy/deploy_1/status" not in service.requests[3:]


async def test_ctrl_c_while_waiting_says_that_the_cancelling_goes_on(service: Service) -> None:
    service.held = 3
    process = await start_zepid("cancel", "deploy_1")
    await asyncio.wait_for(service.watched.wait(), 30)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)

    assert (process.returncode, out) == (130, b"")
    assert err.decode() == "It is cancelled; stopping it goes on. See: zepid status deploy_1\n"


async def test_what_has_ended_is_refused_with_3(service: Service) -> None:
    message = "Deployment deploy_1 has already ended as failed, so there is nothing to cancel"
    service.refusal = 409, {"error": "OUTCOME_ALREADY_DECIDED", "message": message}
    code, _, err = await run_zepid("cancel", "deploy_1")

    assert code == 3
    assert message in err


async def test_retry_follows_the_new_deployment_as_deploy_does(service: Service) -> None:
    service.outcome = "completed"
    code, out, _ = await run_zepid("retry", "deploy_1")
    service.outcome = "failed"
    failed, lines, _ = await run_zepid("retry", "deploy_1", "--json")

    assert code == 0
    assert out.startswith("Deployment  deploy_2\n")
    assert "Live        http://shop.localhost:3080" in out
    assert failed == 1
    result = msgspec.json.decode(lines.splitlines()[-1])
    assert (result["type"], result["deploymentId"], result["status"]) == ("result", "deploy_2", "failed")


async def test_retry_prints_the_id_when_it_need_not_follow(service: Service) -> None:
    assert await run_zepid("retry", "deploy_1", "--no-follow") == (0, "deploy_2\n", "")


async def test_a_retry_of_what_runs_names_it_and_how_to_stop_it(service: Service) -> None:
    service.refusal = 409, {"error": "Deployment in progress", "message": "not ended", "deploymentId": "deploy_1"}
    code, out, err = await run_zepid("retry", "deploy_1")

    assert code == 3
    assert "zepid cancel deploy_1" in err
    assert "Nothing was deployed." in out
