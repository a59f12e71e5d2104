"""The gateway's pure parts: rendering and checking."""

import pytest

from services.gateway import sources
from services.gateway.live import _ChunkOrder
from services.gateway.orders import faults_in
from services.gateway.sources import checked_tree
from services.gateway.status import first_form, render, step_of_word, without_time, word_of
from shared.contracts.errors import ZepidError
from shared.contracts.messages import LogChunk, LogLine
from shared.log_lines import chunk_before, numbered
from shared.pipeline import STEPS
from shared.ports import Entry
from shared.projection import Progress, StepState
from shared.times import iso_time

ORDER = {"projectId": "p", "orgId": "o", "userId": "u"}
DIGEST = "0" * 64


def test_times_are_utc_with_milliseconds():
    assert iso_time(1_767_225_600) == "2026-01-01T00:00:00.000Z"


def test_without_progress_a_deployment_is_pending():
    body = render("deploy_1", 0.0, None, now=1.0, queue_position=3, estimated_start_seconds=20)
    assert (body.status, body.progress, body.queue_position, body.estimated_start_seconds) == ("pending", 0, 3, 20)
    assert {step.status for step in body.steps.values()} == {"pending"}
    assert list(body.steps) == [step.name for step in STEPS]


def test_a_failure_is_explained_only_when_it_is_over():
    failure = ZepidError("BUILD_TYPE_ERROR", "src/a.ts: wrong", file="src/a.ts", line=3).failure("build")
    progress = Progress(
        "deploy_1", sequence=9, stage="cleanup", progress=45, outcome="failed", failure=failure, finished_at=4.0,
        steps={"build": StepState("failed", 1, started_at=2.0, completed_at=3.5, failure=failure)},
    )  # fmt: skip
    assert render("deploy_1", 1.0, progress, now=5.0).status == "updating_database"
    assert render("deploy_1", 1.0, progress, now=5.0).diagnosis is None
    ended = Progress(**{**{name: getattr(progress, name) for name in progress.__struct_fields__}, "finished": True})
    body = render("deploy_1", 1.0, ended, now=5.0)
    assert (body.status, body.error, body.diagnosis, body.duration) == ("failed", "src/a.ts: wrong", failure, 3000)
    assert (body.steps["build"].duration, body.steps["build"].error) == (1500, "src/a.ts: wrong")
    assert body.worker_url is None
    assert first_form(body).status == "errored"


def test_two_bodies_of_the_same_progress_differ_only_in_their_time():
    assert without_time(render("d", 1.0, None, now=5.0)) == without_time(render("d", 1.0, None, now=6.0))


def test_status_words_and_steps_translate_both_ways():
    assert [step_of_word(step.status) for step in STEPS] == [step.name for step in STEPS]
    assert step_of_word("failed") == "failed"
    assert word_of(None, None, None) == "pending"
    assert word_of("build", False, None) == "building"
    assert word_of("cleanup", True, "completed") == "completed"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"projectId": None}, "projectId"),
        ({"orgId": 3}, "orgId"),
        ({"priority": 11}, "priority"),
        ({"target": "moon"}, "target"),
        ({"source": {"type": "git"}}, "source"),
        ({"customDomain": 5}, "customDomain"),
        ({"initFiles": [{"path": "../a", "content": ""}]}, "initFiles"),
        ({"initFiles": "a"}, "initFiles"),
        ({"supersede": "yes"}, "supersede"),
        ({"config": {"timeout": 0}}, "config"),
    ],
)
def test_a_field_that_is_wrong_or_not_supported_is_named(change, field):
    assert list(faults_in({**ORDER, **change})) == [field]


def test_empty_unsupported_fields_and_unknown_ones_change_nothing():
    empty = {"customDomain": None, "initFiles": [], "historyMessages": "[]", "supersede": False, "config": {}}
    assert faults_in({**ORDER, **empty, "somethingNew": 1}) == {}


def test_the_number_of_a_line_follows_from_its_chunk():
    lines = tuple(LogLine(timestamp=0, message=str(number)) for number in range(3))
    chunk = LogChunk(deployment_id="d", step="build", attempt=2, number=0, lines=lines)
    assert [line.seq for line in numbered(chunk, 17)] == [17_000, 17_001, 17_002]
    assert chunk_before(17_002) == 16
    assert chunk_before(0) == 0


def chunk_of(step: str, number: int, attempt: int = 1) -> LogChunk:
    return LogChunk(deployment_id="d", step=step, attempt=attempt, number=number, lines=())


def test_missing_chunks_are_counted_per_attempt():
    order = _ChunkOrder(resumed=False)
    chunks = [chunk_of("build", 0), chunk_of("deploy", 1), chunk_of("build", 3), chunk_of("build", 0, attempt=2)]
    assert [order.missing_before(chunk) for chunk in chunks] == [0, 1, 2, 0]
    assert _ChunkOrder(resumed=True).missing_before(chunk_of("build", 7)) == 0


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"../evil": Entry(DIGEST, 1)}, "../evil"),
        ({"/etc/passwd": Entry(DIGEST, 1)}, "/etc/passwd"),
        ({"a//b": Entry(DIGEST, 1)}, "a//b"),
        ({"big": Entry(DIGEST, 26 * 1024 * 1024)}, "big"),
        ({"negative": Entry(DIGEST, -1)}, "negative"),
        ({"bad": Entry("../" + "0" * 61, 1)}, "bad"),
        ({"a": Entry(DIGEST, 1), "a/b": Entry(DIGEST, 1)}, "a/b"),
    ],
)
def test_a_tree_that_cannot_be_taken_is_refused_by_the_name_of_its_file(files, named):
    with pytest.raises(ZepidError, match=named) as refusal:
        checked_tree(files)
    assert refusal.value.code.name == "SOURCE_INVALID"


def test_a_tree_may_not_have_too_many_files(monkeypatch):
    monkeypatch.setattr(sources, "MAX_FILES", 2)
    with pytest.raises(ZepidError, match="3 files"):
        checked_tree({str(number): Entry(DIGEST, 1) for number in range(3)})


def test_what_is_never_synced_is_left_out_and_modes_are_plain():
    tree = checked_tree({name: Entry(DIGEST, 1, 0o700) for name in ("a.sh", "node_modules/x", ".env", "login.tsx")})
    assert {path: entry.mode for path, entry in tree.files.items()} == {"a.sh": 0o755, "login.tsx": 0o755}
