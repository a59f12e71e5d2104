"""What a deployment has built, listed and downloaded over HTTP."""

import io
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared import blobs
from shared.client import Client
from shared.client.releases import Releases
from tests.desk import Desk, open_desk

FILES = {"index.html": b"<h1>hi</h1>", "assets/größe.css": b"a {}" * 2000, "data/raw.bin": bytes(range(256))}


@pytest_asyncio.fixture
async def desk(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(nats_server, database_url, tmp_path) as desk:
        yield desk


async def built(desk: Desk) -> str:
    """Put the files live; return where their list is."""
    release = (await desk.live.go_live(FILES)).release
    return f"/deploy/deploy_{release.removeprefix('rel_')}/artifacts"


async def test_the_list_names_every_file_with_size_digest_type_and_address(desk: Desk) -> None:
    path = await built(desk)
    answer = await desk.client.get(path)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["totalBytes"] == sum(map(len, FILES.values()))
    assert {file["path"]: file["digest"] for file in body["files"]} == {
        name: blobs.digest_of(data) for name, data in FILES.items()
    }
    assert {file["path"]: file["type"] for file in body["files"]} == {
        "index.html": "text/html; charset=utf-8",
        "assets/größe.css": "text/css; charset=utf-8",
        "data/raw.bin": "application/octet-stream",
    }
    for file in body["files"]:
        assert (await desk.client.get(file["url"])).content == FILES[file["path"]]
    again = await desk.client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_file_is_harmless_in_a_browser_and_comes_in_part_or_not_again(desk: Desk) -> None:
    url = f"{await built(desk)}/file?path=index.html"
    whole = await desk.client.get(url)
    assert whole.headers["content-disposition"].startswith("attachment")
    assert whole.headers["content-security-policy"] == "sandbox"
    assert (await desk.client.get(url, headers={"if-none-match": whole.headers["etag"]})).status_code == 304
    for asked, wanted in {
        "bytes=0-3": b"<h1>",
        "bytes=4-": b"hi</h1>",
        "bytes=-5": b"</h1>",
        "bytes=9-99": b"1>",
    }.items():
        part = await desk.client.get(url, headers={"range": asked})
        assert (part.status_code, part.content) == (206, wanted)
    assert (await desk.client.get(url, headers={"range": "bytes=11-"})).status_code == 416
    assert (await desk.client.get(url, headers={"range": "bytes=0-1,3-4"})).status_code == 200


@pytest.mark.parametrize("format", ["tar.gz", "zip"])
async def test_an_archive_holds_every_byte_and_is_the_same_again(desk: Desk, format: str) -> None:
    url = f"{await built(desk)}/archive"
    answer = await desk.client.get(url, params={"format": format})
    assert answer.status_code == 200, answer.text
    if format == "zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
    else:
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
            found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert found == FILES
    assert (await desk.client.get(url, params={"format": format})).content == answer.content


async def test_the_client_lists_and_downloads(desk: Desk, tmp_path: Path) -> None:
    deployment = (await built(desk)).split("/")[2]
    token = desk.client.headers["authorization"].removeprefix("Bearer ")
    async with Client(str(desk.client.base_url), token) as client:
        releases: Releases = client.releases
        listed = await releases.artifacts(deployment)
        assert {file.path for file in listed.files} == set(FILES)
        assert await releases.file(deployment, "data/raw.bin") == FILES["data/raw.bin"]
        size = await releases.download(deployment, tmp_path / "all.zip", "zip")
    assert (tmp_path / "all.zip").stat().st_size == size
    assert zipfile.is_zipfile(tmp_path / "all.zip")


async def test_what_was_not_built_or_is_no_longer_kept_is_not_found(desk: Desk) -> None:
    path = await built(desk)
    assert (await desk.client.get(f"{path}/file", params={"path": "../index.html"})).status_code == 404
    running = await desk.live.accept({"index.html": b"not yet"})
    assert (await desk.client.get(f"/deploy/{running.deployment_id}/artifacts")).status_code == 404
    await desk.resources.pool.execute("update deployment set expired_at = now()")
    answer = await desk.client.get(path)
    assert answer.status_code == 404
    assert "no longer kept" in answer.json()["message"]
