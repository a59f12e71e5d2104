"""What every object store does, over all of them."""

import asyncio
import importlib.util
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.objects import ARTIFACTS, LOGS, open_objects
from shared.contracts.errors import ZepidError
from shared.ports import Objects
from shared.settings import InvalidSettings


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """The address of an S3 server with our two buckets."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        pytest.skip("needs moto[server]")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for bucket in (ARTIFACTS, LOGS, "acme"):
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")).close()
    yield f"?endpoint={endpoint}&access_key_id=test&secret_access_key=test&region=us-east-1"
    server.stop()


@pytest.fixture(params=["file", "memory", "s3", "s3 below one bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param.startswith("s3"):
        query = request.getfixturevalue("s3_url")
        return f"s3://acme/{tmp_path.name}{query}" if "below" in request.param else f"s3://{query}"
    return f"file://{tmp_path}/objects" if request.param == "file" else "memory:"


@pytest.fixture
def objects(url: str) -> Objects:
    return open_objects(url, ARTIFACTS)


async def all_keys(objects: Objects, prefix: str) -> list[str]:
    return sorted([key async for key in objects.keys(prefix)])


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(1024), os.urandom(6 << 20)], ids=len)
async def test_bytes_come_back_as_they_went(objects: Objects, data: bytes) -> None:
    await objects.put("blobs/one", data)
    assert await objects.get("blobs/one") == data


@pytest.mark.parametrize(("start", "end"), [(0, 6 << 20), (0, 1), (1_000_000, 3_000_000), ((6 << 20) - 1, 6 << 20)])
async def test_a_part_is_read_in_chunks(url: str, objects: Objects, start: int, end: int) -> None:
    data = os.urandom(6 << 20)
    await objects.put("read/one", data)
    chunks = [bytes(chunk) async for chunk in objects.read("read/one", start, end)]
    assert b"".join(chunks) == data[start:end]
    assert url == "memory:" or max(map(len, chunks)) < 2 << 20


@pytest.mark.parametrize("key", ["read/none", "read/short"])
async def test_reading_what_is_not_there_fails(objects: Objects, key: str) -> None:
    await objects.put("read/short", b"short")
    with pytest.raises(ZepidError) as failed:
        _ = [chunk async for chunk in objects.read(key, 0, 6)]
    assert failed.value.code.name == "STORAGE_READ_FAILED"


async def test_a_second_put_replaces_the_first(objects: Objects) -> None:
    await objects.put("replaced/one", b"first, and longer")
    await objects.put("replaced/one", b"second")
    assert await objects.get("replaced/one") == b"second"


async def test_a_missing_object_is_none_and_not_there(objects: Objects) -> None:
    assert await objects.get("missing/none") is None
    assert not await objects.exists("missing/none")


async def test_an_object_is_there_until_it_is_deleted_and_deleting_again_is_fine(objects: Objects) -> None:
    await objects.put("deleted/one", b"x")
    assert await objects.exists("deleted/one")
    await objects.delete("deleted/one")
    await objects.delete("deleted/one")
    assert not await objects.exists("deleted/one")


async def test_keys_below_a_folder_are_listed_and_no_others(objects: Objects) -> None:
    for key in ("logs/deploy_1/01-build.1.ndjson", "logs/deploy_1/02-ü n.ndjson", "logs/deploy_10/01.ndjson"):
        await objects.put(key, b"x")
    listed = await all_keys(objects, "logs/deploy_1/")
    assert listed == ["logs/deploy_1/01-build.1.ndjson", "logs/deploy_1/02-ü n.ndjson"]
    assert len(await all_keys(objects, "logs/")) == 3
    assert await all_keys(objects, "logs/none/") == []


async def test_more_keys_than_one_page_are_listed(objects: Objects) -> None:
    await asyncio.gather(*(objects.put(f"many/{number:04}", b"") for number in range(120)))
    assert len(await all_keys(objects, "many/")) == 120


async def test_readers_never_see_part_of_an_object(objects: Objects) -> None:
    versions = [bytes([number]) * 300_000 for number in range(1, 5)]
    await objects.put("whole/one", versions[0])

    async def write() -> None:
        for data in versions * 3:
            await objects.put("whole/one", data)

    writing = asyncio.create_task(write())
    while not writing.done():
        assert await objects.get("whole/one") in versions
    await writing


@pytest.mark.parametrize("key", ["", "../out", "a/../../out", "/rooted", "a//b", "a/./b", "a/", "a\0b"])
async def test_a_key_that_is_no_plain_path_is_refused(objects: Objects, key: str) -> None:
    with pytest.raises(ZepidError) as reading:
        await objects.get(key)
    with pytest.raises(ZepidError) as writing:
        await objects.put(key, b"x")
    assert (reading.value.code.name, writing.value.code.name) == ("STORAGE_READ_FAILED", "STORAGE_WRITE_FAILED")


async def test_a_folder_is_there_again_when_opened_again(tmp_path: Path) -> None:
    await open_objects(f"file://{tmp_path}/with space", ARTIFACTS).put("one", b"x")
    assert await open_objects(f"file://{tmp_path}/with%20space", ARTIFACTS).get("one") == b"x"
    assert await open_objects(f"file://{tmp_path}/with space", LOGS).get("one") is None


async def test_no_link_leads_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    objects = open_objects(f"file://{tmp_path}/objects", ARTIFACTS)
    bucket = tmp_path / "objects" / ARTIFACTS
    (bucket / "file").symlink_to(tmp_path / "outside" / "secret")
    (bucket / "folder").symlink_to(tmp_path / "outside")
    for key in ("file", "folder/secret"):
        with pytest.raises(ZepidError, match="link"):
            await objects.get(key)
        with pytest.raises(ZepidError, match="link"):
            await objects.put(key, b"overwritten")
        with pytest.raises(ZepidError, match="link"):
            await objects.delete(key)
    assert await all_keys(objects, "") == []
    assert (tmp_path / "outside" / "secret").read_text() == "secret"


async def test_a_failure_names_the_key_and_no_folder_of_the_host(tmp_path: Path) -> None:
    objects = open_objects(f"file://{tmp_path}", ARTIFACTS)
    await objects.put("folder/file", b"x")
    with pytest.raises(ZepidError) as writing:
        await objects.put("folder", b"x")
    with pytest.raises(ZepidError) as reading:
        await objects.get("folder/file/below")
    assert writing.value.message == "the object store could not write 'folder': Is a directory"
    assert reading.value.message == "the object store could not read 'folder/file/below': Not a directory"


async def test_a_refusal_of_s3_names_its_status(s3_url: str) -> None:
    objects = open_objects(f"s3://absent{s3_url}", ARTIFACTS)
    with pytest.raises(ZepidError, match="could not write 'one': ") as refused:
        await objects.put("one", b"x")
    assert "127.0.0.1" not in refused.value.message


@pytest.mark.parametrize("url", ["ftp://somewhere", "s3://?bogus=secret", "objects"])
def test_an_address_that_cannot_work_is_refused_with_the_setting_s_name(url: str) -> None:
    with pytest.raises(InvalidSettings, match="OBJECT_STORE_URL") as refused:
        open_objects(url, ARTIFACTS)
    assert "secret" not in str(refused.value)
