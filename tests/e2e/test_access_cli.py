"""`zepid login`, `zepid token` and `zepid audit` as people run them, against a running gateway."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.cli.connection import find_connection
from shared.adapters.postgres.tokens import Tokens
from tests.stand import DEADLINE, Stand
from tests.waiting import until

Zepid = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def zepid(tmp_path: Path, environ: dict[str, str]) -> Zepid:
    """Run the command in an empty folder; returns its exit code, output and errors."""

    async def run(*words: str, typed: str = "") -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cli", *words, cwd=tmp_path, env={**environ, "PYTHONPATH": str(Path.cwd())},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(typed.encode()), 60)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    return run


async def test_login_remembers_a_token_that_the_server_knows_and_keys_live_their_lives(
    stand: Stand, zepid: Zepid, environ: dict[str, str], tmp_path: Path
) -> None:
    _, token = await Tokens(stand.resources.pool).create("admin", ["admin"], "acme", "ada")
    refused = await zepid("login", stand.url, typed="zpd_wrong\n")
    assert refused[0] == 3
    assert "Unauthorized" in refused[2]
    code, out, err = await zepid("login", stand.url, typed=f"{token}\n")
    assert (code, err) == (0, "")
    assert "as ada, organisation acme" in out
    assert token not in out
    saved = find_connection(folder=tmp_path, environ=environ)
    assert (saved.url, saved.token, saved.organization_id) == (stand.url, token, "acme")

    code, secret, told = await zepid("token", "create", "CI", "--expires", "90d")
    assert code == 0, told
    assert secret.startswith("zpd_")
    assert "never shown again" in told
    made = msgspec.json.decode((await zepid("token", "ls", "--json"))[1].splitlines()[0])
    assert (made["name"], made["scopes"], made["status"]) == ("CI", ["deploy"], "active")
    listed = (await zepid("token", "ls"))[1]
    assert made["prefix"] in listed
    assert secret.strip() not in listed
    rotated = await zepid("token", "rotate", made["id"], "--overlap", "1h")
    assert "valid until" in rotated[2]
    assert (await zepid("token", "revoke", made["id"]))[1] == f"{made['id']} (CI) revoked\n"
    assert (await zepid("token", "rotate", made["id"]))[0] == 3
    assert (await zepid("token", "create", "x", "--expires", "soon"))[0] == 2

    async def audited() -> list[Any] | None:
        lines = (await zepid("audit", "--action", "POST /tokens", "--json"))[1].splitlines()
        return [msgspec.json.decode(line) for line in lines] if len(lines) >= 3 else None

    rows = await until(audited, 3 * DEADLINE)
    assert [(row["action"], row["status"]) for row in rows] == [
        ("POST /tokens/{token_id}/rotate", 409),
        ("POST /tokens/{token_id}/rotate", 200),
        ("POST /tokens", 201),
    ]
    assert "POST /tokens" in (await zepid("audit"))[1]


async def test_login_without_a_token_or_a_server_says_what_is_missing(zepid: Zepid) -> None:
    assert (await zepid("login", "http://127.0.0.1:9"))[0] == 3
    code, _, err = await zepid("login", typed="zpd_x")
    assert code == 3
    assert "No Zepid server is known here" in err
