"""`zepid deploy` against a service over real HTTP: what is sent, what is shown, what the shell gets."""

import asyncio
import io
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from cli_service import DIAGNOSIS, TOKEN, Service, serving
from rich.console import Console
from test_cli_main import run_zepid, start_zepid

from services.cli import watch as watching
from services.cli.choice import Choice, folder_name
from services.cli.deploy import deploy_folder
from services.cli.errors import ProjectUnclear
from services.cli.live import LiveView
from services.cli.upload import parcels
from services.cli.views import JsonView, PlainView
from shared.client import Client


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with serving(Service()) as running:
        monkeypatch.setenv("ZEPID_URL", running.url)
        monkeypatch.setenv("ZEPID_TOKEN", TOKEN)
        yield running


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "src").mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "@acme/shop"}')
    (folder / "index.html").write_text("<h1>Hello</h1>")
    (folder / "src" / "copy.html").write_text("<h1>Hello</h1>")
    (folder / ".env").write_text("SECRET=1")
    return folder


async def deploy(service: Service, folder: Path, choice: Choice | None = None) -> list[dict[str, Any]]:
    """Deploy and return the JSON lines."""
    out = io.StringIO()
    async with Client(service.url, TOKEN) as client:
        await deploy_folder(client, folder, JsonView(out), choice)
    return lines_of(out.getvalue())


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines_of(text: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in text.splitlines()]


async def test_only_missing_blobs_are_sent_and_like_files_once(service: Service, site: Path) -> None:
    await deploy(service, site)
    (site / "index.html").write_text("<h1>Changed</h1>")
    before = list(service.uploaded)
    await deploy(service, site)
    await deploy(service, site)

    assert len(before) == 2
    assert service.uploaded[2:] == [blake3(b"<h1>Changed</h1>").hexdigest()]
    assert set(service.manifests[0]) == {"package.json", "index.html", "src/copy.html"}


async def test_small_files_travel_together_and_large_ones_alone(service: Service, tmp_path: Path) -> None:
    large = bytes(600 * 1024)
    (tmp_path / "a.bin").write_bytes(large)
    for number in range(300):
        (tmp_path / f"{number}.txt").write_text(f"{number}")
    await deploy(service, tmp_path)

    uploads = [request for request in service.requests if "/blobs" in request]
    assert sorted(uploads) == ["POST /blobs"] * 2 + [f"PUT /blobs/{blake3(large).hexdigest()}"]
    assert set(service.blobs.values()) == {large} | {b"%d" % number for number in range(300)}


def test_a_parcel_holds_few_enough_files_and_bytes() -> None:
    sizes = {f"{number}": size for number, size in enumerate([1] * 300 + [500_000] * 20 + [5_000_000])}
    packed = list(parcels(sizes))

    assert sorted(digest for parcel in packed for digest in parcel) == sorted(sizes)
    assert max(map(len, packed)) <= 250
    assert all(sum(sizes[digest] for digest in parcel) <= 4 << 20 or len(parcel) == 1 for parcel in packed)
    assert len(packed) == 5


async def test_the_deployment_names_project_caller_and_snapshot(service: Service, site: Path) -> None:
    await deploy(service, site)

    source = {"type": "snapshot", "id": "snapshot_1"}
    assert service.deployed == [{"projectId": "project_1", "orgId": "org_1", "userId": "user_1", "source": source}]
    assert service.projects["project_1"]["name"] == "shop"


async def test_a_folder_keeps_to_its_project_until_that_is_gone(service: Service, site: Path) -> None:
    await deploy(service, site)
    await deploy(service, site)
    assert list(service.projects) == ["project_1"]
    assert names_in(site) == [".env", "index.html", "package.json", "src"]

    service.projects = {"project_8": service.projects["project_1"] | {"id": "project_8"}}
    await deploy(service, site)
    assert list(service.projects) == ["project_8", "project_2"]


async def test_a_project_can_be_chosen_by_id_or_name(service: Service, site: Path) -> None:
    for name, organization in (("a", "org_1"), ("b", "org_1"), ("b", "org_1"), ("a", "org_2")):
        service.add_project(name, organization)
    await deploy(service, site, Choice(name="a"))
    await deploy(service, site, Choice(project_id="project_3"))
    await deploy(service, site)

    assert [body["projectId"] for body in service.deployed] == ["project_1", "project_3", "project_3"]
    with pytest.raises(ProjectUnclear, match="project_2, project_3"):
        await deploy(service, site, Choice(name="b"))


async def test_a_token_of_every_organisation_needs_to_hear_which(service: Service, site: Path) -> None:
    service.organization = None
    with pytest.raises(ProjectUnclear, match="ZEPID_ORG"):
        await deploy(service, site)
    code, _, _ = await run_zepid("deploy", str(site), ZEPID_ORG="org_7")

    assert code == 0
    assert service.deployed[0]["orgId"] == "org_7"
    assert "org_7" in service.upload_queries[-1]


async def test_json_lines_tell_every_event_and_the_result_last(service: Service, site: Path) -> None:
    lines = await deploy(service, site)

    kinds = [line["type"] for line in lines]
    assert list(dict.fromkeys(kind for kind in kinds if kind != "log")) == [
        *("source", "project", "upload", "accepted", "status", "result"),
    ]
    assert [line["message"] for line in lines if line["type"] == "log"] == service.log
    progress = [line["progress"] for line in lines if line["type"] == "status"]
    assert progress == sorted(progress)
    assert lines[-1] == {
        "type": "result",
        "deploymentId": "deploy_1",
        "status": "completed",
        "workerUrl": "http://shop.localhost:3080",
        "diagnosis": None,
        "duration": 1234,
    }


async def test_a_broken_stream_changes_nothing_but_a_notice(service: Service, site: Path) -> None:
    service.cut_after = 2
    lines = await deploy(service, site)

    assert [line["progress"] for line in lines if line["type"] == "status"] == [0, 10, 25, 45, 70, 90, 100]
    assert any("trying again" in line["message"] for line in lines if line["type"] == "notice")
    assert lines[-1]["status"] == "completed"


async def test_a_stream_that_holds_events_back_is_replaced_by_asking(
    service: Service, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_POLL_SECONDS", 0.05)
    service.held = 2
    lines = await deploy(service, site)

    assert lines[-1]["status"] == "completed"
    assert "GET /deploy/deploy_1/status" in service.requests


async def test_a_failure_is_explained_in_plain_lines(service: Service, site: Path) -> None:
    service.outcome, service.log = "failed", ["\x1b[31mred\x1b[0m \x1b]0;title\x07text\x1b[2J"]
    out = io.StringIO()
    async with Client(service.url, TOKEN) as client:
        result = await deploy_folder(client, site, PlainView(out))

    text = out.getvalue()
    assert msgspec.to_builtins(result)["diagnosis"] == DIAGNOSIS
    assert "\x1b" not in text
    assert "build     | red text\n" in text
    for part in ("validate  done (0.05 s)", "build     FAILED", "BUILD_TYPE_ERROR", "At src/app.ts:3", "error TS2322"):
        assert part in text
    assert text.endswith("Whole log: zepid logs deploy_1\n")


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_the_terminal_shows_steps_output_and_an_ending(service: Service, site: Path, outcome: str) -> None:
    service.outcome = outcome
    console = Console(file=io.StringIO(), force_terminal=True, width=100, highlight=False, no_color=True)
    async with Client(service.url, TOKEN) as client:
        await deploy_folder(client, site, LiveView(console))

    text = console.file.getvalue()  # type: ignore[attr-defined]
    ending = "http://shop.localhost:3080" if outcome == "completed" else "At src/app.ts:3"
    for part in ("3 files", "vite build", "✔", ending):
        assert part in text
    assert text.rstrip().endswith("╯")


async def test_the_shell_gets_0_and_lines_without_control_sequences_in_a_pipe(service: Service, site: Path) -> None:
    code, out, err = await run_zepid("deploy", str(site), FORCE_COLOR="1")

    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert out.splitlines()[-1].startswith("Live        http://shop.localhost:3080")


async def test_the_shell_gets_1_and_json_when_the_deployment_fails(service: Service, site: Path) -> None:
    service.outcome = "failed"
    code, out, _ = await run_zepid("deploy", str(site), "--json")

    assert code == 1
    assert lines_of(out)[-1]["diagnosis"] == DIAGNOSIS


async def test_nothing_is_sent_when_the_folder_is_refused(service: Service, tmp_path: Path) -> None:
    code, out, err = await run_zepid("deploy", str(tmp_path / "none"), "--json")

    assert code == 2
    assert "is not a folder" in err
    assert lines_of(out)[-1]["diagnosis"]["code"] == "SOURCE_INVALID"
    assert service.requests == []


async def test_a_refused_deployment_names_the_active_one(service: Service, site: Path) -> None:
    message = "Cannot start new deployment. Project is currently in 'deploying' state."
    service.refusal = 409, {"error": "Deployment in progress", "message": message, "deploymentId": "deploy_7"}
    code, out, err = await run_zepid("deploy", str(site), "--json")

    assert code == 3
    assert message in err
    assert "zepid logs -f deploy_7" in err
    result = lines_of(out)[-1]
    assert (result["type"], result["status"], result["deploymentId"]) == ("result", "error", None)
    assert result["diagnosis"]["code"] == "DEPLOYMENT_IN_PROGRESS"


async def test_ctrl_c_leaves_the_deployment_running_and_says_how_to_watch_it(service: Service, site: Path) -> None:
    service.held = 3
    process = await start_zepid("deploy", str(site))
    await asyncio.wait_for(service.watched.wait(), 30)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 130
    assert "The deployment goes on. Watch it: zepid logs -f deploy_1" in out.decode()
    assert err == b""


def test_a_project_is_named_after_package_json_or_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my site!"
    folder.mkdir()
    assert folder_name(folder) == "my site"
    for content, name in (('{"name": "@acme/Web_App"}', "Web_App"), ("{broken", "my site"), ('{"name": 3}', "3")):
        (folder / "package.json").write_text(content)
        assert folder_name(folder) == name


async def test_a_repository_goes_to_the_project_of_its_name_and_nothing_is_uploaded(service: Service) -> None:
    url = "https://git.example.com/acme/my-site.git"
    for _ in range(2):
        code, out, err = await run_zepid("deploy", "--git", url, "--ref", "v1", "--json")
        assert code == 0, err
        chosen = next(line for line in lines_of(out) if line["type"] == "project")
        assert chosen["project"]["name"] == "my-site"
    first, second = service.deployed
    assert first["source"] == {"type": "git", "url": url, "ref": "v1"}
    assert first["projectId"] == second["projectId"]
