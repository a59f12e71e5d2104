"""Environment variables: set over HTTP, seen by the build alone."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from shared.adapters.postgres.deployments import Deployments
from shared.adapters.postgres.tokens import Tokens
from shared.client import Client
from shared.contracts.errors import ZepidError
from shared.resources import Resources, open_resources
from shared.sealing import Seal
from shared.settings import Settings
from shared.variables import MOST_VARIABLES
from tests.e2e.apps import write
from tests.live import LiveStack
from tests.stand import Stand, serving
from tests.waiting import until

SENTINEL = 'SENTINEL-7f3b/"quoted"+value'
MULTILINE = "-----BEGIN KEY-----\nSENTINEL-second-line\n-----END KEY-----"
KEY = Fernet.generate_key().decode()


@pytest_asyncio.fixture
async def resources(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Resources]:
    settings = Settings(
        nats_url=nats_server,
        postgres_url=database_url,
        object_store_url=f"file://{tmp_path}/objects",
        encryption_keys=KEY,
    )
    async with open_resources(settings, "test") as resources:
        yield resources


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [variable["name"] for variable in answer.json()["variables"]]


async def test_variables_are_set_replaced_and_removed_and_their_values_never_shown(stand: Stand) -> None:
    path = f"/projects/{await stand.project()}/env"
    first = await stand.client.put(path, json={"variables": {"A": SENTINEL, "B_1": "two"}})
    assert names(first) == ["A", "B_1"]
    assert SENTINEL not in first.text
    assert names(await stand.client.patch(path, json={"variables": {"C": "", "A": None}})) == ["B_1", "C"]
    one = await stand.client.put(f"{path}/D", json={"value": SENTINEL})
    assert (one.status_code, one.json()["name"]) == (200, "D")
    assert (await stand.client.get(f"{path}/D")).json() == one.json()
    assert names(await stand.client.delete(f"{path}/B_1")) == ["C", "D"]
    assert (await stand.client.delete(f"{path}/B_1")).status_code == 404
    assert names(await stand.client.put(path, json={"variables": {"E": "e"}})) == ["E"]
    assert names(await stand.client.delete(path)) == []


@pytest.mark.parametrize(
    "variables",
    [
        {"1A": "x"}, {"A-B": "x"}, {"": "x"}, {"PATH": "x"}, {"ld_preload": "x"}, {"ZEPID_X": "x"},
        {"A" * 129: "x"}, {"A": "nul\0"}, {"A": "x" * 32_769}, {"A": 5}, {"A": ["x"]},
        {f"V{number}": "x" for number in range(MOST_VARIABLES + 1)}, {"A": "x" * 32_768, "B": "x" * 32_768},
    ],
)  # fmt: skip
async def test_unusable_names_and_values_are_refused_and_change_nothing(stand: Stand, variables: Any) -> None:
    path = f"/projects/{await stand.project()}/env"
    await stand.client.put(path, json={"variables": {"KEPT": SENTINEL}})
    for method in ("PUT", "PATCH"):
        refused = await stand.client.request(method, path, json={"variables": variables})
        assert (refused.status_code, refused.json()["error"]) == (400, "Validation Error"), refused.text
        assert "xxxx" not in refused.text
    assert names(await stand.client.get(path)) == ["KEPT"]


async def test_values_are_encrypted_at_rest_and_readable_after_a_key_is_rotated(stand: Stand) -> None:
    project_id = await stand.project()
    await stand.client.put(f"/projects/{project_id}/env", json={"variables": {"A": SENTINEL}})
    deployment_id = (await stand.deploy(project_id)).json()["deploymentId"]
    pool = stand.resources.pool
    stored = await pool.fetchval("select value from project_variable")
    frozen = await pool.fetchval("select variables::text from deployment")
    assert SENTINEL not in stored + frozen
    rotated = Deployments(pool, Seal([Fernet.generate_key().decode(), KEY]))
    assert await rotated.build_variables(deployment_id) == {"A": SENTINEL}
    lost = Deployments(pool, Seal([Fernet.generate_key().decode()]))
    with pytest.raises(ZepidError, match="none of ENCRYPTION_KEYS") as refused:
        await lost.build_variables(deployment_id)
    assert refused.value.code.name == "SECRET_UNREADABLE"


async def test_a_deployment_keeps_the_variables_of_its_acceptance_and_so_does_its_retry(stand: Stand) -> None:
    project_id = await stand.project()
    path = f"/projects/{project_id}/env"
    await stand.client.put(path, json={"variables": {"A": "first"}})
    deployment_id = (await stand.deploy(project_id)).json()["deploymentId"]
    await stand.client.put(path, json={"variables": {"A": "second", "B": "new"}})
    deployments = stand.resources.deployments
    assert await deployments.build_variables(deployment_id) == {"A": "first"}
    await stand.client.post(f"/deploy/{deployment_id}/cancel")
    with pytest.raises(ZepidError) as over:
        await deployments.build_variables(deployment_id)
    assert over.value.code.name == "OUTCOME_ALREADY_DECIDED"
    again = await stand.client.post(f"/deploy/{deployment_id}/retry")
    assert again.status_code == 200, again.text
    assert await deployments.build_variables(again.json()["deploymentId"]) == {"A": "first"}


async def test_without_a_key_variables_are_refused_and_everything_else_works(
    resources: Resources, database_url: str
) -> None:
    keyless = Resources(
        resources.settings, resources.bus, resources.pool, resources.deployments, resources.artifacts,
        resources.logs, Seal(),
    )  # fmt: skip
    _, token = await Tokens(resources.pool).create("test", ["deploy"], "acme", "ada")
    async with serving(keyless) as (_, url), Client(url, token) as client:
        project = await client.create_project("Shop")
        assert await client.env.list(project.id) == ()
        refused = await client.http.put(f"/projects/{project.id}/env", json={"variables": {"A": "x"}})
        assert (refused.status_code, refused.json()["error"]) == (501, "ENCRYPTION_KEY_MISSING")
        assert (await client.deploy(project, "ada")).status == "queued"


async def test_another_organisations_variables_answer_like_missing_ones(stand: Stand) -> None:
    project_id = await stand.project()
    _, token = await Tokens(stand.resources.pool).create("other", ["admin"], "other", "eve")
    foreign = {"authorization": f"Bearer {token}"}
    for method, path in (("GET", ""), ("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("PUT", "/A"), ("DELETE", "/A")):
        body = {"json": {"value": "x"} if path else {"variables": {}}} if method in ("PUT", "PATCH") else {}
        answers = [
            await stand.client.request(method, f"/projects/{id}/env{path}", headers=foreign, **body)
            for id in (project_id, "none")
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert answers[0].json()["message"] == answers[1].json()["message"]


BUILD = """
const { A, KEY } = process.env
console.log('plain:', A)
console.error('json:', JSON.stringify({ A, KEY }))
console.log('base64:', Buffer.from('user:' + A).toString('base64'))
console.log('url:', encodeURIComponent(A))
console.log(KEY)
console.log(A.slice(0, 15)); console.log(A.slice(15))
process.stdout.write('colour: \\x1b[31m' + A.slice(0, 8) + '\\x1b[0m' + A.slice(8) + '\\n')
process.stdout.write('x'.repeat(8185) + A + '\\n')
if (process.env.FAIL) throw new Error('wrong credential ' + A)
require('fs').mkdirSync('dist')
require('fs').writeFileSync('dist/index.html', `<!doctype html><p>${A.length} ${KEY.split('\\n').length}</p>`)
"""


async def everything_told(stack: LiveStack, deployment_id: str) -> str:
    """All that anybody is told of a deployment: status, log, stored rows, archived files, service logs, messages."""
    told = [(await stack.get(f"/deploy/{deployment_id}/{kind}")).text for kind in ("status", "logs?limit=1000")]
    connection = await asyncpg.connect(stack.settings.postgres_url)
    try:
        for table in ("deployment", "deployment_step", "deployment_progress", "project_variable"):
            told += [str(tuple(row)) for row in await connection.fetch(f"select * from {table}")]
    finally:
        await connection.close()
    for folder in ("logs", "nats", "objects/libra-deployment-logs"):
        told += [
            path.read_bytes().decode(errors="replace")
            for path in (stack.data_dir / folder).rglob("*")
            if path.is_file()
        ]
    return "\n".join(told)


async def test_a_build_sees_the_variables_and_nobody_else_does(stack: LiveStack, tmp_path: Path) -> None:
    package = json.dumps({"name": "secretive", "scripts": {"build": "node build.cjs"}}).encode()
    folder = write({"package.json": package, "build.cjs": BUILD.encode()}, tmp_path)
    async with Client(stack.connection.url, stack.connection.token) as client:
        project = await client.create_project("secretive", stack.connection.organization_id)
        await client.env.set(project.id, {"A": SENTINEL, "KEY": MULTILINE})
        good = await stack.deploy(folder, "--project", project.id)
        await client.env.set(project.id, {"FAIL": "yes"})
        bad = await stack.deploy(folder, "--project", project.id)
    assert good.exit_code == 0, (good.result, good.log)
    page = await stack.get(good.result["workerUrl"])
    assert f"<p>{len(SENTINEL)} 3</p>" in page.text
    assert (bad.exit_code, bad.result["status"]) == (1, "failed")
    assert "plain: ***" in good.log
    assert "wrong credential ***" in bad.result["diagnosis"]["excerpt"]

    async def archived() -> bool:
        folder = stack.data_dir / "objects/libra-deployment-logs/logs" / bad.result["deploymentId"]
        return any(folder.glob("*build*"))

    await until(archived)
    told = await everything_told(stack, good.result["deploymentId"])
    told += await everything_told(stack, bad.result["deploymentId"])
    assert "plain: ***" in told
    for trace in ("SENTINEL", "7f3b", "quoted", "second-line", "U0VOVElORUw"):
        assert trace not in told
