"""A large site of which one file changed: the object store gets that file, and nothing else that people wrote."""

from pathlib import Path

import msgspec

from shared.adapters.objects import ARTIFACTS
from shared.blobs import digest_of
from shared.ports import Manifest
from tests.live import LiveStack

FILES = 5_000
CHANGED = "pages/77.html"
PAGE = b"<h1>changed</h1>"


def blobs_of(stack: LiveStack) -> dict[str, tuple[int, int]]:
    """Every blob in the store by digest, with what changes when it is written again."""
    folder = stack.data_dir / "objects" / ARTIFACTS / "blobs"
    found = [file for file in folder.rglob("*") if file.is_file()]
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in found}


async def test_a_redeploy_of_5000_files_with_one_changed_writes_one_blob_and_the_lists(
    stack: LiveStack, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    (site / "pages").mkdir(parents=True)
    (site / "index.html").write_bytes(b"<h1>many pages</h1>")
    for number in range(FILES - 1):
        (site / f"pages/{number}.html").write_bytes(b"<h1>%d</h1>" % number)
    first = await stack.deploy(site)
    assert first.exit_code == 0, first.result
    before = blobs_of(stack)
    assert len(before) >= FILES

    (site / CHANGED).write_bytes(PAGE)
    second = await stack.deploy(site)
    assert second.exit_code == 0, second.result
    after = blobs_of(stack)
    new = after.keys() - before.keys()
    assert digest_of(PAGE) in new
    assert {digest: after[digest] for digest in before} == before, "no blob was written again"
    folder = stack.data_dir / "objects" / ARTIFACTS / "blobs"
    lists = [msgspec.json.decode((folder / digest).read_bytes(), type=Manifest) for digest in new - {digest_of(PAGE)}]
    assert [len(tree.files) for tree in lists] == [FILES] * len(lists)
    assert len(lists) <= 2, "the source's list and the output's"
    assert (await stack.get(second.result["workerUrl"] + CHANGED.removesuffix(".html"))).content == PAGE
