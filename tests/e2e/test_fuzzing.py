"""Whatever is sent to any operation, the answer is one that the OpenAPI document promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from shared.adapters.postgres.tokens import Tokens
from shared.resources import open_resources
from shared.settings import load_settings
from shared.telemetry import log
from tests.fuzzing import fuzz
from tests.stand import Stand, serving

SEED = 20_261
FEWEST = 20
"""Operations there are at least; were fewer tried, the document would have been lost on the way."""


@pytest_asyncio.fixture
async def stand(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    settings = load_settings(
        {},
        nats_url=nats_server,
        postgres_url=database_url,
        object_store_url=f"file://{tmp_path}/objects",
        encryption_keys=Fernet.generate_key().decode(),
        cloudflare_account_id="account",
        cloudflare_api_token="token",
        cloudflare_url="https://{site}.example.com",
    )
    async with open_resources(settings, "test") as resources, serving(resources) as (gateway, url):
        _, token = await Tokens(resources.pool).create("fuzzing", ["admin"], "acme", "ada")
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10, trust_env=False) as client:
            yield Stand(gateway, url, client, resources, token)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("who", ["an operator", "nobody"])
async def test_every_operation_answers_as_its_document_says(
    stand: Stand, tmp_path: Path, who: str, pytestconfig: pytest.Config
) -> None:
    project_id = await stand.project()
    deployment_id = (await stand.deploy(project_id)).json()["deploymentId"]
    known = {"path.deployment_id": deployment_id, "path.project_id": project_id}
    token = stand.token if who == "an operator" else None
    examples = pytestconfig.getoption("--cases")
    tried = await fuzz(stand.url, token, examples, tmp_path, known=known if token else {}, seed=SEED)
    log.info("fuzzed", who=who, cases=tried.cases)
    assert tried.exit_code == 0, tried.report
    assert tried.cases > FEWEST * examples
