"""How commands find their server, and that a token reaches no other one."""

from pathlib import Path

import pytest

from services.cli.connection import Connection, find_connection, save_connection
from services.cli.errors import NoConnection
from services.cli.memory import recall, remember

SAVED = Connection(url="http://127.0.0.1:3008", token="saved", organization_id="o", user_id="u")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "deep" / "er"
    folder.mkdir(parents=True)
    return folder


def test_a_saved_connection_is_found_from_folders_below_and_from_anywhere(
    tmp_path: Path, project: Path, environ: dict[str, str]
) -> None:
    save_connection(tmp_path / "work" / ".zepid", SAVED, environ)

    assert find_connection(folder=project, environ=environ) == SAVED
    assert find_connection(folder=tmp_path, environ=environ) == SAVED
    for file in tmp_path.rglob("client.json"):
        assert file.stat().st_mode & 0o777 == 0o600


def test_the_nearest_file_wins_over_the_users_own(tmp_path: Path, project: Path, environ: dict[str, str]) -> None:
    near = Connection(url="http://near", token="near")
    save_connection(project.parent / ".zepid", near, environ)
    save_connection(tmp_path / "other", SAVED, environ)

    assert find_connection(folder=project, environ=environ) == near
    assert find_connection(folder=tmp_path, environ=environ) == SAVED


def test_options_win_over_the_environment_and_that_over_files(
    tmp_path: Path, project: Path, environ: dict[str, str]
) -> None:
    save_connection(tmp_path / ".zepid", SAVED, environ)
    environ |= {"ZEPID_URL": "http://env/", "ZEPID_TOKEN": "env"}

    assert find_connection(folder=project, environ=environ) == Connection(url="http://env", token="env")
    found = find_connection("http://option", "option", folder=project, environ=environ)
    assert found == Connection(url="http://option", token="option")


def test_a_saved_token_is_never_used_for_another_server(tmp_path: Path, project: Path, environ: dict[str, str]) -> None:
    save_connection(tmp_path / ".zepid", SAVED, environ)

    assert find_connection("http://elsewhere", folder=project, environ=environ).token == ""
    assert find_connection(SAVED.url + "/", folder=project, environ=environ).token == "saved"


def test_a_file_that_others_may_read_is_refused(tmp_path: Path, project: Path, environ: dict[str, str]) -> None:
    save_connection(tmp_path / ".zepid", SAVED, environ)
    (tmp_path / ".zepid" / "client.json").chmod(0o644)

    with pytest.raises(NoConnection, match="not private"):
        find_connection(folder=project, environ=environ)


def test_without_any_server_the_text_says_what_to_do(project: Path, environ: dict[str, str]) -> None:
    with pytest.raises(NoConnection, match="zepid up"):
        find_connection(folder=project, environ=environ)


def test_a_folders_project_is_remembered_per_server(project: Path, environ: dict[str, str]) -> None:
    remember("http://one", project, "project_1", environ)

    assert recall("http://one/", project, environ) == "project_1"
    assert recall("http://two", project, environ) is None
    assert list(project.iterdir()) == []
