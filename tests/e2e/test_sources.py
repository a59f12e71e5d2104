"""Where a deployment's files come from: the platform's formats and git, through a real gateway and pipeline."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.steps.cleanup.handler import handle as clean_up
from services.steps.validate import git
from services.steps.validate.handler import handle as validate
from shared.adapters.postgres.tokens import Tokens
from shared.blobs import load, load_manifest
from tests.archives import zip_of, zipped
from tests.git_server import GitServer, git_server
from tests.pipeline import Pipeline, pipeline, settings_for
from tests.stand import serving

PAGE = "<!doctype html>\r\n<title>ünïcode ✓</title>\n"
TEMPLATE = {
    "type": "folder",
    "children": [
        {"name": "index.html", "type": "file", "content": "<h1>template"},
        {"name": "src", "type": "folder", "children": [
            {"name": "login.tsx", "content": "export const Login = 1;"},
            {"name": "old.ts", "content": "gone"},
        ]},
        {"name": "node_modules", "type": "folder", "children": {"x.js": "never synced"}},
        {"name": ".env", "content": "SECRET=1"},
    ],
}  # fmt: skip
HISTORY = [
    {"id": 1, "type": "user", "content": "make it blue"},
    {"id": 2, "type": "diff", "diff": [
        {"type": "edit", "path": "index.html", "original": "<h1>template", "modified": "<h1>first"},
        {"type": "create", "path": "src/builder.tsx", "original": "", "modified": "export {};\n"},
        {"type": "create", "path": "draft.md", "modified": "soon gone"},
    ]},
    "a message that is none",
    {"id": 3, "type": "hologram", "diff": [{"type": "delete", "path": "index.html"}]},
    {"id": 4, "type": "diff", "diff": [
        {"type": "delete", "path": "src/old.ts"},
        {"type": "delete", "path": "draft.md"},
        {"type": "edit", "path": "index.html", "original": "<h1>first", "modified": PAGE},
        {"type": "edit", "path": "made/by-an-edit.css", "original": "", "modified": "a { color: blue }"},
        {"type": "edit", "path": "src/login.tsx"},
        {"type": "create", "path": "../outside", "modified": "x"},
    ]},
]  # fmt: skip
BUILT = {
    "index.html": PAGE.encode(),
    "made/by-an-edit.css": b"a { color: blue }",
    "src/builder.tsx": b"export {};\n",
    "src/login.tsx": b"export const Login = 1;",
}
WARNINGS = [
    "message 3 of the history is malformed: it has no type",
    "message 5, change 5 of the history is left out: edit of src/login.tsx has no text in `modified`",
    "message 5, change 6 of the history is left out: the path '../outside' cannot be used: "
    "it has an empty, '.' or '..' segment",
]


@dataclass
class World:
    """A gateway, and a pipeline whose validate and cleanup steps are real."""

    pipeline: Pipeline
    client: httpx.AsyncClient

    @property
    def pool(self) -> Any:
        return self.pipeline.resources.pool

    async def project(self, **columns: str) -> str:
        project_id = await self.pipeline.project("acme")
        for name, value in columns.items():
            await self.pool.execute(f"update project set {name} = $1 where id = $2", value, project_id)
        return project_id

    async def post(self, project_id: str, **more: object) -> httpx.Response:
        order = {"projectId": project_id, "orgId": "acme", "userId": "ada", **more}
        return await self.client.post("/deploy", json=order)

    async def deploy(self, project_id: str, **more: object) -> str:
        """Deploy and wait for the end; return the id."""
        answer = await self.post(project_id, **more)
        assert answer.status_code == 200, answer.text
        return await self.ended(answer.json()["deploymentId"])

    async def ended(self, deployment_id: str) -> str:
        await self.pipeline.finished(deployment_id)
        return deployment_id

    async def failure(self, project_id: str, **more: object) -> tuple[str, str]:
        """Deploy what must fail; return the code and message that its status shows."""
        deployment_id = await self.deploy(project_id, **more)
        status = (await self.client.get(f"/deploy/{deployment_id}/status")).json()
        assert status["status"] == "failed", status
        return status["diagnosis"]["code"], status["diagnosis"]["message"]

    async def tree(self, deployment_id: str) -> dict[str, tuple[bytes, int]]:
        """The bytes and modes of what a deployment was made of."""
        objects = self.pipeline.resources.artifacts
        source = await self.pool.fetchval("select source from deployment where id = $1", deployment_id)
        files = (await load_manifest(objects, source)).files
        return {path: (await load(objects, entry.digest, path), entry.mode) for path, entry in files.items()}

    async def files(self, deployment_id: str) -> dict[str, bytes]:
        return {path: data for path, (data, _) in (await self.tree(deployment_id)).items()}

    async def log(self, deployment_id: str, level: str = "") -> list[str]:
        answer = (await self.client.get(f"/deploy/{deployment_id}/logs", params={"limit": 500})).json()
        return [line["message"] for line in answer["logs"] if level in ("", line["level"])]

    async def snapshots(self) -> int:
        return int(await self.pool.fetchval("select count(*) from snapshot"))


@asynccontextmanager
async def running(nats: str, database: str, folder: Path, **settings: object) -> AsyncIterator[World]:
    async with pipeline(settings_for(nats, database, folder, **settings)) as running:
        running.handlers |= {"validate": validate, "cleanup": clean_up}
        running.start()
        _, token = await Tokens(running.resources.pool).create("test", ["deploy"], "acme", "ada")
        headers = {"authorization": f"Bearer {token}"}
        async with (
            serving(running.resources) as (_, url),
            httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
        ):
            yield World(running, client)


@pytest_asyncio.fixture
async def world(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "vite-site.json").write_text(json.dumps(TEMPLATE))
    settings = {
        "templates_dir": str(templates),
        "sandbox_builder_default_provider": "local",
        "git_allowed_networks": "127.0.0.0/8",
        "deploy_rate_limit": 1000,
    }
    async with running(nats_server, database_url, tmp_path / "data", **settings) as world:
        yield world


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[GitServer]:
    with git_server(tmp_path / "site.git") as server:
        yield server


# The platform's formats


@pytest.mark.parametrize("as_text", [False, True], ids=["list", "text"])
async def test_template_and_history_of_a_request_make_the_tree_the_format_defines(world: World, as_text: bool):
    history = json.dumps(HISTORY) if as_text else HISTORY
    deployment_id = await world.deploy(await world.project(), initFiles=TEMPLATE, historyMessages=history)
    assert await world.tree(deployment_id) == {path: (data, 0o644) for path, data in BUILT.items()}
    assert await world.log(deployment_id, "warn") == WARNINGS
    assert "source: template and message history" in await world.log(deployment_id)
    assert (await world.pipeline.progress(deployment_id)).outcome == "completed"
    [(manifest, count, origin)] = await world.pool.fetch("select manifest, file_count, origin from snapshot")
    assert manifest == await world.pool.fetchval("select source from deployment")
    assert (count, origin["type"], origin["warnings"]) == (4, "platform", WARNINGS)


async def test_the_project_s_row_is_the_source_where_nothing_was_uploaded_and_is_read_anew(world: World):
    project_id = await world.project(template_type="vite-site", message_history=json.dumps(HISTORY))
    first = await world.deploy(project_id)
    assert await world.files(first) == BUILT
    assert await world.log(first, "warn") == WARNINGS
    more = [*HISTORY, {"type": "diff", "diff": [{"type": "create", "path": "new.txt", "modified": "new"}]}]
    await world.pool.execute("update project set message_history = $1", json.dumps(more))
    assert await world.files(await world.deploy(project_id)) == BUILT | {"new.txt": b"new"}
    retried = await world.client.post(f"/deploy/{first}/retry")
    assert await world.files(await world.ended(retried.json()["deploymentId"])) == BUILT
    await world.client.put(f"/projects/{project_id}/source", content=zip_of(zipped("index.html", b"uploaded")))
    assert await world.files(await world.deploy(project_id)) == {"index.html": b"uploaded"}


async def test_a_malformed_history_is_taken_to_be_empty_and_the_log_says_so(world: World):
    project_id = await world.project(template_type="vite-site", message_history='[{"type": "diff", ')
    deployment_id = await world.deploy(project_id)
    assert set(await world.files(deployment_id)) == {"index.html", "src/login.tsx", "src/old.ts"}
    assert await world.log(deployment_id, "warn") == ["the message history is not valid JSON: it is taken to be empty"]


async def test_a_history_without_its_template_deploys_what_it_creates_and_says_so(world: World):
    deployment_id = await world.deploy(await world.project(), historyMessages=HISTORY)
    assert await world.files(deployment_id) == {path: data for path, data in BUILT.items() if "login" not in path}
    assert (await world.log(deployment_id, "warn"))[0].startswith("the files of the template 'vite' are not known here")


async def test_a_refused_request_leaves_no_snapshot(world: World):
    project_id = await world.project()
    files = [{"path": "index.html", "content": "x"}]
    assert (await world.post("missing", initFiles=files)).status_code == 404
    await world.pool.execute("update project set is_active = false where id = $1", project_id)
    assert (await world.post(project_id, initFiles=files)).status_code == 400
    foreign = await world.pipeline.project("other")
    assert (await world.post(foreign, initFiles=files)).status_code == 404
    assert list((Path(world.pipeline.resources.settings.data_dir) / "objects").rglob("blobs/*")) == []
    await world.pool.execute("update project set is_active = true where id = $1", project_id)
    broken = [*files, {"path": "index.html/b", "content": "y"}]
    answer = await world.post(project_id, initFiles=broken)
    assert (answer.status_code, answer.json()["error"]) == (400, "SOURCE_INVALID")
    assert await world.snapshots() == 0


# Git

SITE = {
    "index.html": b"<h1>git",
    "bin/run": (0o100755, b"#!/bin/sh\n"),
    "data.bin": bytes(range(256)),
    "copy.html": (0o120000, b"index.html"),
    "docs/up.html": (0o120000, b"../index.html"),
    "outside": (0o120000, b"/etc/passwd"),
    "vendor/module": (0o160000, b"a submodule"),
    "film.mp4": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    "node_modules/x.js": b"never synced",
    ".env": b"SECRET=1",
}


async def test_a_branch_is_fetched_frozen_and_deployed_again_as_it_was(world: World, server: GitServer):
    commit = server.commit(SITE)
    project_id = await world.project()
    source = {"type": "git", "url": f"{server.url}/moved.git"}
    first = await world.deploy(project_id, source=source)
    expected = {
        "index.html": (b"<h1>git", 0o644), "bin/run": (b"#!/bin/sh\n", 0o755), "data.bin": (bytes(range(256)), 0o644),
        "copy.html": (b"<h1>git", 0o644), "docs/up.html": (b"<h1>git", 0o644), "film.mp4": (SITE["film.mp4"], 0o644),
    }  # fmt: skip
    assert await world.tree(first) == expected
    log = await world.log(first)
    assert f"fetching {server.url}/moved.git (default branch)" in log
    assert f"source: {server.url}/moved.git, default branch at commit {commit}" in log
    assert sorted(await world.log(first, "warn")) == [
        "1 files of Git LFS that are deployed as their pointers, for LFS is not asked: film.mp4",
        "1 links that lead out of the tree, to a folder or to nothing: outside",
        "1 submodules, which are not fetched: vendor/module",
    ]
    origin = await world.pool.fetchval("select origin from snapshot")
    assert (origin["type"], origin["commit"], origin["url"]) == ("git", commit, source["url"])

    server.commit({"index.html": b"<h1>newer"})
    asked = len(server.requests)
    retried = (await world.client.post(f"/deploy/{first}/retry")).json()["deploymentId"]
    assert await world.tree(await world.ended(retried)) == expected
    assert await world.tree(await world.deploy(project_id)) == expected
    assert len(server.requests) == asked
    assert await world.files(await world.deploy(project_id, source=source)) == {"index.html": b"<h1>newer"}


async def test_a_ref_may_be_a_branch_a_tag_or_a_commit(world: World, server: GitServer):
    tagged = server.commit({"index.html": b"tagged"})
    server.tag("v1", tagged)
    latest = server.commit({"index.html": b"latest"})
    server.commit({"index.html": b"branch"}, "feature/x")
    project_id = await world.project()
    for ref, text in {"v1": b"tagged", "feature/x": b"branch", "main": b"latest", latest: b"latest"}.items():
        deployed = await world.deploy(project_id, source={"type": "git", "url": f"{server.url}/site.git", "ref": ref})
        assert await world.files(deployed) == {"index.html": text}, ref


async def test_a_project_s_own_repository_is_the_source_where_there_is_no_other(world: World, server: GitServer):
    server.commit({"index.html": b"one"}, "site")
    project_id = await world.project(git_url=f"{server.url}/site.git", git_branch="site")
    assert await world.files(await world.deploy(project_id)) == {"index.html": b"one"}
    server.commit({"index.html": b"two"}, "site")
    assert await world.files(await world.deploy(project_id)) == {"index.html": b"two"}


async def test_what_can_t_be_fetched_says_why(world: World, server: GitServer, monkeypatch: pytest.MonkeyPatch):
    server.commit({"index.html": b"x" * 100_000})
    project_id = await world.project()

    async def failure(path: str, ref: str = "") -> tuple[str, str]:
        return await world.failure(project_id, source={"type": "git", "url": server.url + path, "ref": ref})

    assert await failure("/none.git") == ("SOURCE_GIT_NOT_FOUND", "There is no repository at this address")
    assert await failure("/site.git", "nope") == ("SOURCE_GIT_REF_MISSING", "The repository has no branch or tag nope")
    assert (await failure("/page"))[0] == "SOURCE_GIT_INVALID"
    code, message = await failure("/inside.git")
    assert (code, "10.0.0.1" in message, "not public" in message) == ("SOURCE_GIT_REFUSED", True, True)
    server.commit({"src/../../evil": b"x"})
    code, message = await failure("/site.git")
    assert (code, "'src/..' cannot be used" in message) == ("SOURCE_INVALID", True)
    server.commit({"new\nline": b"x"})
    assert (await failure("/site.git"))[0] == "SOURCE_GIT_INVALID"
    server.commit({"big": bytes(26 * 2**20)})
    assert await failure("/site.git") == ("SOURCE_GIT_TOO_LARGE", "big has 26.0 MiB; 25 MiB is the limit")
    monkeypatch.setattr(git, "MAX_PACK_BYTES", 1000)
    assert (await failure("/site.git"))[0] == "SOURCE_GIT_TOO_LARGE"
    monkeypatch.setattr(git, "FETCH_SECONDS", 0.01)
    assert (await failure("/site.git"))[0] == "SOURCE_GIT_TIMEOUT"
    assert await world.snapshots() == 0


async def test_a_server_that_is_away_is_asked_again(world: World, server: GitServer):
    server.commit({"index.html": b"here"})
    server.is_away = True
    project_id = await world.project()
    answer = await world.post(project_id, source={"type": "git", "url": f"{server.url}/site.git"})
    async with asyncio.timeout(30):
        while not server.requests:  # noqa: ASYNC110 - another thread fills it
            await asyncio.sleep(0.01)
    server.is_away = False
    deployment_id = await world.ended(answer.json()["deploymentId"])
    assert await world.files(deployment_id) == {"index.html": b"here"}
    assert any("HTTP status 503" in line for line in await world.log(deployment_id, "error"))


@pytest.mark.parametrize(
    "url", ["https://me:pw@git.example.com/a.git", "https://127.1.1.1/a", "file:///etc", "https://10.0.0.1/a"]
)
async def test_a_url_that_must_not_be_asked_is_refused_at_once(nats_server, database_url, tmp_path, url):
    async with running(nats_server, database_url, tmp_path) as world:
        answer = await world.post(await world.project(), source={"type": "git", "url": url})
        assert (answer.status_code, answer.json()["error"]) == (400, "SOURCE_GIT_REFUSED")
        assert "pw" not in answer.text
        assert await world.pool.fetchval("select count(*) from deployment") == 0
