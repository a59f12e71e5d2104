"""Whatever is sent to any operation, the answer is one that the OpenAPI document promises."""

import pytest

from shared.adapters.postgres.tokens import Tokens
from tests.e2e.test_gateway import resources, stand  # noqa: F401 - fixtures
from tests.fuzzing import fuzz

SEED = 20_261


@pytest.mark.parametrize("who", ["an operator", "nobody"])
async def test_every_operation_answers_as_its_document_says(stand, tmp_path, who, request):
    examples = request.config.getoption("--cases")
    deployment_id = await stand.deployment()
    _, token = await Tokens(stand.resources.pool).create("fuzzing", ["admin"], None, "root")
    known = {"path.deployment_id": deployment_id}
    tried = await fuzz(stand.url, token if who == "an operator" else None, examples, tmp_path, known=known, seed=SEED)
    print(tried.report)
    assert tried.exit_code == 0, tried.report
