"""The command line itself: help, versions, exit codes, the commands that only look, doctor."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cli_service import TOKEN, Service, serving

from services.cli.doctor import CHECKS, Patient, check_disk, check_nats, check_sandbox, check_server
from services.cli.memory import remember
from services.cli.render import in_bytes, in_seconds, printable

HEAVY = ("litestar", "nats", "asyncpg", "alembic", "sqlalchemy", "httpx", "obstore", "opentelemetry", "rich.console")


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with serving(Service()) as running:
        monkeypatch.setenv("ZEPID_URL", running.url)
        monkeypatch.setenv("ZEPID_TOKEN", TOKEN)
        yield running


async def start_zepid(*arguments: str, **environ: str) -> asyncio.subprocess.Process:
    """Start the command as its users do, with pipes instead of a terminal."""
    command = [sys.executable, "-c", "from services.cli.main import main; main()", *arguments]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=os.environ | environ)


async def run_zepid(*arguments: str, **environ: str) -> tuple[int | None, str, str]:
    """Return exit code, stdout and stderr."""
    process = await start_zepid(*arguments, **environ)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


def test_help_needs_no_heavy_import() -> None:
    code = f"import sys, services.cli.main as m; m.add_extensions(); print([n for n in {HEAVY} if n in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["deploy", "status", "logs", "ls", "open", "doctor", "cancel", "retry"])
async def test_every_command_shows_an_example_and_offers_json(command: str) -> None:
    code, out, _ = await run_zepid(command, "--help")

    assert code == 0
    assert f"Example: zepid {command}" in out
    assert "--json" in out


async def test_the_version_is_printed() -> None:
    assert await run_zepid("--version") == (0, "zepid 2.0.0\n", "")


async def test_misuse_returns_2() -> None:
    code, _, err = await run_zepid("status")

    assert code == 2
    assert "ID" in err


async def test_git_takes_the_place_of_the_folder() -> None:
    for misuse in (("--ref", "main"), ("some-folder", "--git", "https://git.example.com/a.git")):
        code, _, err = await run_zepid("deploy", *misuse)
        assert code == 2
        assert "--ref needs --git" in err


async def test_an_away_server_returns_3_and_says_what_to_do(tmp_path: Path) -> None:
    away = {"ZEPID_URL": "http://127.0.0.1:1", "ZEPID_TOKEN": "x", "XDG_STATE_HOME": str(tmp_path)}
    code, _, err = await run_zepid("status", "deploy_1", **away)

    assert code == 3
    assert "http://127.0.0.1:1" in err
    assert "zepid up" in err


async def test_a_wrong_token_returns_3_and_names_the_variable(service: Service) -> None:
    code, _, err = await run_zepid("ls", ZEPID_TOKEN="wrong")

    assert code == 3
    assert "ZEPID_TOKEN" in err


async def test_status_shows_steps_and_diagnosis(service: Service) -> None:
    service.outcome = "failed"
    code, out, _ = await run_zepid("status", "deploy_1")

    assert code == 0
    for part in ("validate", "0.05 s", "failed", "BUILD_TYPE_ERROR", "At src/app.ts:3"):
        assert part in out
    assert "\x1b" not in out


async def test_logs_prints_text_or_json_and_follows_to_the_end(service: Service) -> None:
    text = await run_zepid("logs", "deploy_1", "--step", "build")
    json = await run_zepid("logs", "-f", "deploy_1", "--json")

    assert [line.split()[2:] for line in text[1].splitlines()] == [[">", "vite", "build"], ["built", "in", "1.2", "s"]]
    assert [msgspec.json.decode(line)["message"] for line in json[1].splitlines()] == service.log


async def test_ls_lists_deployments(service: Service) -> None:
    _, out, _ = await run_zepid("ls")

    assert [line.split() for line in out.splitlines()][1] == ["deploy_1", "completed", "0.90", "s"]


async def test_open_prints_the_address_of_a_deployment_and_of_a_folder(service: Service, tmp_path: Path) -> None:
    service.add_project("shop")
    remember(service.url, tmp_path, "project_1")

    assert (await run_zepid("open", "deploy_1", "--json"))[1] == '{"url":"http://shop.localhost:3080"}\n'
    assert (await run_zepid("open", str(tmp_path), "--json"))[1] == '{"url":"http://shop.localhost"}\n'
    code, _, err = await run_zepid("open", str(tmp_path.parent))
    assert code == 2
    assert "zepid deploy" in err


async def test_doctor_reports_every_check_as_json(service: Service, tmp_path: Path) -> None:
    code, out, _ = await run_zepid("doctor", "--json", "--data-dir", str(tmp_path / "data"))

    report = msgspec.json.decode(out)
    assert len(report["checks"]) == len(CHECKS)
    found = {check["name"]: check for check in report["checks"]}
    assert found["Server"]["state"] == "fail"
    assert "database unhealthy" in found["Server"]["what"]
    assert all(check["fix"] for check in report["checks"] if check["state"] != "ok")
    assert (code, report["ok"]) == (1, False)
    assert not (tmp_path / "data").exists()


def test_a_build_can_run_in_the_sandbox_here(tmp_path: Path) -> None:
    assert check_sandbox(Patient(tmp_path / "data")).state == "ok"


def test_external_servers_replace_the_embedded_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NATS_URL", "nats://broker")

    assert check_nats(Patient(tmp_path)).what == "not needed: NATS_URL is set"


def test_no_server_is_a_warning_for_doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    finding = check_server(Patient(tmp_path, "http://127.0.0.1:1", "x"))

    assert finding.state == "warn"
    assert "zepid up" in finding.fix


def test_a_full_disk_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("services.cli.doctor._LEAST_BYTES", 10**18)
    monkeypatch.setattr("services.cli.doctor._COMFORTABLE_BYTES", 10**18)

    assert check_disk(Patient(tmp_path)).state == "fail"


def test_sizes_and_durations_read_well() -> None:
    assert [in_bytes(n) for n in (0, 999, 34_120, 25_000_000)] == ["0 B", "999 B", "34.1 kB", "25.0 MB"]
    assert [in_seconds(n) for n in (None, 420, 17_000, 125_000)] == ["", "0.42 s", "17 s", "2 min 5 s"]


def test_a_tools_output_cannot_steer_the_terminal() -> None:
    assert printable("\x1b[1;31mred\x1b[0m\ttab") == "red\ttab"
    assert printable("10 %\r100 %\r") == "100 %"
    assert printable("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x07 \x9b2J\x00") == "link 2J"
