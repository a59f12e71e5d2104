"""What failed inside is kept with its stack trace for operators, and shown to nobody else."""

import pytest

from services.cli.failures_view import show_failures
from services.steps.loader import open_ports
from shared.adapters.postgres.tokens import Tokens
from shared.attempt import Attempt
from shared.client import Client
from shared.contracts.messages import Command, Work
from shared.contracts.outcomes import Outcome, Retry
from shared.execution import Execution
from shared.failure_log import FailureLog
from shared.pipeline import BY_NAME
from shared.ports import Ports
from tests.stand import Stand

SECRET_PLACE = "the inner reason"


async def break_down(command: Command, ports: Ports) -> Outcome:
    try:
        raise KeyError(SECRET_PLACE)
    except KeyError as error:
        raise RuntimeError("a defect") from error


async def attempt_of(stand: Stand, deployment_id: str) -> Outcome | None:
    resources = stand.resources
    command = Command(
        deployment_id=deployment_id, project_id="p", organization_id="acme", step="build", deadline=0,
        work=Work(source=""),
    )  # fmt: skip
    execution = Execution(
        BY_NAME["build"], break_down, open_ports(resources), resources.bus, FailureLog(resources.logs)
    )
    return await execution.run(Attempt(command, 1, "", 0.0))


async def test_a_defect_is_kept_with_its_causes_for_operators_only(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment_id = await stand.deployment()
    outcome = await attempt_of(stand, deployment_id)
    assert isinstance(outcome, Retry)
    assert outcome.failure.code == "INTERNAL_ERROR"
    for path in ("status", "logs"):
        assert SECRET_PLACE not in (await stand.client.get(f"/deploy/{deployment_id}/{path}")).text
    assert (await stand.client.get(f"/deploy/{deployment_id}/errors")).status_code == 403
    _, token = await Tokens(stand.resources.pool).create("operator", ["admin"], "acme", "root")
    async with Client(stand.url, token) as client:
        found = await client.failures.of(deployment_id)
        [failed] = found.errors
        assert (failed.step, failed.attempt, failed.code) == ("build", 1, "INTERNAL_ERROR")
        assert SECRET_PLACE in failed.trace
        assert "RuntimeError: a defect" in failed.trace
        await show_failures(client, deployment_id, as_json=False)
    printed = capsys.readouterr().out
    assert "build, attempt 1  INTERNAL_ERROR" in printed
    assert SECRET_PLACE in printed
