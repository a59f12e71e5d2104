"""Sources as they are uploaded to a real gateway: a corpus of hostile archives, and trees of the largest size."""

from pathlib import Path

from blake3 import blake3

from tests.archives import HOSTILE, many, member, numbered, tar_of, zip_of, zipped

MOST = 20_000
SLOWEST_SECONDS = 120.0


def stored(folder: Path) -> set[Path]:
    """Every file of the test's object store."""
    return {path for path in folder.rglob("*") if path.is_file()}


async def test_every_hostile_archive_is_refused_by_name_and_leaves_nothing(stand, tmp_path):
    path = f"/projects/{await stand.project()}/source"
    accepted = {}
    for name, hostile in HOSTILE.items():
        answer = await stand.client.put(path, content=hostile.make(), timeout=60)
        body = answer.json()
        if (answer.status_code, body["error"]) != (400, "SOURCE_INVALID") or hostile.said not in body["message"]:
            accepted[name] = (answer.status_code, body)
    assert not accepted
    assert await stand.resources.pool.fetchval("select count(*) from snapshot") == 0
    assert stored(tmp_path) == set()


async def test_a_tree_of_the_most_files_is_taken_in_every_form_as_the_same_snapshot(stand):
    path = f"/projects/{await stand.project()}/source"
    answers = {}
    for form, pack, one in (("tar.gz", tar_of, member), ("zip", zip_of, zipped)):
        archive = many(pack, one, MOST)
        answer = await stand.client.put(path, content=archive, timeout=SLOWEST_SECONDS)
        assert answer.status_code == 200, answer.text
        answers[form] = answer.json()
    files = {path: {"digest": blake3(data).hexdigest(), "size": len(data)} for path, data in numbered(MOST).items()}
    answers["delta"] = (await stand.client.post(path, json={"files": files}, timeout=SLOWEST_SECONDS)).json()
    assert answers["tar.gz"]["files"] == MOST
    assert answers["tar.gz"] == answers["zip"] == answers["delta"]
