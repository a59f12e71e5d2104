"""`zepid projects`, `env`, `domains`, `link` and `completion` as people type them, with a real gateway."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from tests.domain_world import HOST, World, domain_world


@pytest_asyncio.fixture
async def world(
    nats_server: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    async with domain_world(nats_server, database_url, tmp_path) as world:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("ZEPID_URL", world.stand.url)
        monkeypatch.setenv("ZEPID_TOKEN", world.stand.token)
        monkeypatch.chdir(tmp_path)
        yield world


async def zepid(*arguments: str, typed: str = "", **environ: str) -> tuple[int | None, str, str]:
    """Run the command and return exit code, stdout and stderr."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=os.environ | environ
    )
    out, err = await asyncio.wait_for(process.communicate(typed.encode()), 60)
    return process.returncode, out.decode(), err.decode()


async def variables(world: World) -> dict[str, str]:
    rows = await world.stand.resources.pool.fetch("select name, value from project_variable")
    return {row["name"]: world.stand.resources.seal.open(row["value"]) for row in rows}


async def test_a_linked_folder_is_what_commands_about_projects_mean(world: World, tmp_path: Path) -> None:
    project_id = await world.stand.project()
    unlinked = await zepid("env", "ls")
    assert (unlinked[0], unlinked[1]) == (2, "")
    assert "zepid link ID" in unlinked[2]
    assert await zepid("link", project_id) == (0, f"{tmp_path} is linked to Shop ({project_id})\n", "")
    assert await zepid("env", "ls") == (0, "No variables. Set one: zepid env set NAME\n", "")


async def test_a_value_comes_from_stdin_or_a_file_and_is_never_printed(world: World, tmp_path: Path) -> None:
    await zepid("link", await world.stand.project())
    code, out, err = await zepid("env", "set", "KEY", typed="s3cret\n")
    assert (code, err, "KEY" in out, "s3cret" in out) == (0, "", True, False)
    (tmp_path / "key.pem").write_text("one\ntwo\n")
    assert (await zepid("env", "set", "PEM", "--file", "key.pem"))[0] == 0
    assert await variables(world) == {"KEY": "s3cret", "PEM": "one\ntwo\n"}
    on_the_command_line = await zepid("env", "set", "KEY=value")
    assert (on_the_command_line[0], "give only the name" in on_the_command_line[2]) == (2, True)


async def test_a_dotenv_file_is_taken_as_it_stands(world: World, tmp_path: Path) -> None:
    await zepid("link", await world.stand.project())
    await zepid("env", "set", "OLD", typed="1")
    (tmp_path / ".env").write_text("# note\nexport A=1\nB='two words' # why\nC=\"x\\ny\"\nD=$A\n")
    assert (await zepid("env", "set", "--file", ".env"))[0] == 0
    assert await variables(world) == {"OLD": "1", "A": "1", "B": "two words", "C": "x\ny", "D": "$A"}
    assert (await zepid("env", "set", "--file", ".env", "--replace"))[0] == 0
    assert "OLD" not in await variables(world)
    code, out, _ = await zepid("env", "rm", "A", "B", "--json")
    assert (code, [msgspec.json.decode(line)["name"] for line in out.splitlines()]) == (0, ["C", "D"])
    missing = await zepid("env", "set", "--file", "none.env")
    assert (missing[0], "none.env cannot be read" in missing[2]) == (2, True)


async def test_projects_are_made_listed_changed_and_deleted(world: World) -> None:
    made = msgspec.json.decode((await zepid("projects", "create", "Blog", "--build", "make", "--json"))[1])
    assert made["settings"] == {"buildCommand": "make"}
    assert made["id"] in (await zepid("projects", "ls"))[1]
    assert (await zepid("projects", "set", made["id"]))[0] == 2
    changed = await zepid("projects", "set", made["id"], "--build", "", "--output", "out", "--inactive", "--json")
    body = msgspec.json.decode(changed[1])
    assert (body["settings"], body["isActive"]) == ({"outputDirectory": "out"}, False)
    shown = (await zepid("projects", "show", made["id"]))[1]
    assert "Output        out" in shown
    assert "Variables     none" in shown
    assert (await zepid("projects", "rm", made["id"], typed="n\n"))[0] == 1
    assert await zepid("projects", "rm", made["id"], "--yes") == (0, f"{made['id']} deleted\n", "")
    gone = await zepid("projects", "show", made["id"])
    assert (gone[0], "Project not found" in gone[2]) == (3, True)


async def test_a_domain_is_added_with_what_to_do_and_verified_by_exit_code(world: World) -> None:
    options = ("--project", await world.project())
    added = await zepid("domains", "add", HOST, *options, "--json")
    assert (await zepid("domains", "verify", HOST, *options))[0] == 1
    listed = (await zepid("domains", "ls", *options))[1]
    assert f"There is no TXT record at _zepid-challenge.{HOST} yet" in listed
    assert f"zepid domains verify {HOST}" in (await zepid("domains", "add", HOST, *options))[1]
    world.prove(msgspec.json.decode(added[1]))
    code, out, _ = await zepid("domains", "verify", HOST, *options)
    assert (code, f"It is served at http://{HOST}" in out) == (0, True)
    assert await zepid("domains", "rm", HOST, *options) == (0, f"{HOST} removed\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_each_shell_gets_its_script(shell: str) -> None:
    code, out, _ = await zepid("completion", shell)
    assert (code, f"_ZEPID_COMPLETE=complete_{shell}" in out) == (0, True)


async def test_a_command_line_is_completed() -> None:
    shell = {"_ZEPID_COMPLETE": "complete_bash", "COMP_WORDS": "zepid domains ", "COMP_CWORD": "2"}
    assert (await zepid(**shell))[1].split() == ["ls", "add", "verify", "rm"]
