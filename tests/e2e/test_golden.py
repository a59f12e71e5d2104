"""The original clients' requests and answers, field by field: see tests/golden/README.md."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared.resources import open_resources
from shared.settings import load_settings
from tests.golden_states import STATES, World
from tests.stand import Stand, serving

GOLDEN = Path(__file__).parents[1] / "golden"
MATCHERS = {
    "<deployment id>": re.compile(r"deploy_\w+"),
    "<time>": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    "<request id>": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "<text>": re.compile(r"(?s).+"),
}


@pytest_asyncio.fixture
async def stand(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    settings = load_settings(
        {}, nats_url=nats_server, postgres_url=database_url, object_store_url=f"file://{tmp_path}/objects"
    )
    async with (
        open_resources(settings, "test") as resources,
        serving(resources) as (gateway, url),
        httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client,
    ):
        yield Stand(gateway, url, client, resources, "")


@pytest.mark.parametrize("name", sorted(file.stem for file in GOLDEN.glob("*.json")))
async def test_clients_of_the_original_get_the_same_answers(stand: Stand, name: str) -> None:
    wrong = {}
    for number, exchange in enumerate(json.loads((GOLDEN / f"{name}.json").read_text())):
        world = World(stand, f"org-{number}")
        await STATES[exchange["given"]](world)
        if found := await differences(world, exchange):
            wrong[exchange["title"]] = found
    assert wrong == {}


async def differences(world: World, exchange: dict[str, Any]) -> list[str]:
    """Send the request; return where the answer is another than the one that is written down."""
    request, expected = _filled(exchange["request"], world.made), _filled(exchange["answer"], world.made)
    headers = {name: str(value) for name, value in request.get("headers", {}).items()}
    token = request.get("token", "deploy")
    if token != "none":
        headers.setdefault("authorization", f"Bearer {world.made[token]}")
    body = {"json": request["body"]} if "body" in request else {"content": request.get("text")}
    answer = await world.stand.client.request(request["method"], request["path"], headers=headers, **body)
    found = [] if answer.status_code == expected["status"] else [f"status {answer.status_code}: {answer.text}"]
    for header, value in expected["headers"].items():
        found += _compare(f"header {header}", answer.headers.get(header), value)
    if "body" in expected:
        found += _compare("body", answer.json(), expected["body"])
    return found


def _filled(value: Any, made: dict[str, str]) -> Any:
    """Put what `given` made in the place of its names."""
    if isinstance(value, str):
        return re.sub(r"\{(projectId|deploymentId|orgId)\}", lambda name: made.get(name[1], name[0]), value)
    if isinstance(value, dict):
        return {key: _filled(part, made) for key, part in value.items()}
    return [_filled(part, made) for part in value] if isinstance(value, list) else value


def _compare(where: str, got: Any, expected: Any) -> list[str]:
    if isinstance(expected, dict) and isinstance(got, dict):
        names = sorted({*got, *expected})
        absent = [f"{where}.{name} is {'missing' if name in expected else 'too much'}" for name in names
                  if (name in got) != (name in expected)]  # fmt: skip
        return absent + [
            found for name in names if name in got and name in expected
            for found in _compare(f"{where}.{name}", got[name], expected[name])
        ]  # fmt: skip
    if isinstance(expected, list) and isinstance(got, list) and len(got) == len(expected):
        return [found for n, (one, other) in enumerate(zip(got, expected, strict=True))
                for found in _compare(f"{where}[{n}]", one, other)]  # fmt: skip
    return [] if _matches(got, expected) else [f"{where} is {got!r}, not {expected!r}"]


def _matches(got: Any, expected: Any) -> bool:
    match expected:
        case "<integer>":
            return str(got).isdigit() and not isinstance(got, bool)
        case "<field messages>":
            return isinstance(got, list) and bool(got) and all(isinstance(text, str) and text for text in got)
        case "<object>":
            return isinstance(got, dict) and bool(got)
    if isinstance(expected, str) and expected in MATCHERS:
        return isinstance(got, str) and MATCHERS[expected].fullmatch(got) is not None
    return type(got) is type(expected) and bool(got == expected)
