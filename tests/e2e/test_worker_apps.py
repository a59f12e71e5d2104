"""Apps with a Worker, through the whole pipeline: bundled in the sandbox, run at the edge, rolled back."""

import hashlib
from pathlib import Path

from tests.e2e import apps
from tests.e2e.apps import Tree, write
from tests.live import Deployed, LiveStack


async def live(stack: LiveStack, folder: Path) -> tuple[Deployed, str]:
    """Deploy a folder that must go live; return its address."""
    deployed = await stack.deploy(folder)
    assert deployed.result["status"] == "completed", (deployed.result, deployed.log)
    return deployed, deployed.result["workerUrl"]


async def fails(stack: LiveStack, tree: Tree, folder: Path) -> tuple[str, str]:
    """Deploy a tree that must fail; return code and message."""
    deployed = await stack.deploy(write(tree, folder))
    error = deployed.result["diagnosis"]
    return error["code"], error["message"]


async def test_a_hono_app_answers_by_its_worker_and_its_files(stack: LiveStack, tmp_path: Path) -> None:
    folder = write(apps.hono(), tmp_path)
    deployed, url = await live(stack, folder)
    assert any("Worker src/worker.ts" in line for line in deployed.log)
    assert (await stack.get(f"{url}api/hello")).json() == {"hello": "Hono"}
    assert (await stack.get(f"{url}api/node")).text == hashlib.sha256(b"x").hexdigest()
    assert (await stack.get(f"{url}api/words")).text == "words of a file"
    assert "<title>Hono app</title>" in (await stack.get(url)).text
    assert (await stack.get(f"{url}nowhere")).status_code == 404

    again, _ = await live(stack, folder)
    assert any("nothing changed since an earlier build" in line for line in again.log)
    assert (await stack.get(f"{url}api/hello")).json() == {"hello": "Hono"}


async def test_a_worker_alone_answers_every_path(stack: LiveStack, tmp_path: Path) -> None:
    _, url = await live(stack, write(apps.worker_alone(), tmp_path))
    assert (await stack.get(f"{url}a/b")).text == "<h1>alone at /a/b</h1>"


async def test_a_worker_that_can_t_be_made_or_does_not_start_says_why(stack: LiveStack, tmp_path: Path) -> None:
    alone = apps.worker_alone()
    missing = alone | {"wrangler.toml": b'main = "src/other.ts"\n'}
    code, message = await fails(stack, missing, tmp_path / "missing")
    assert code == "BUILD_PLAN_INVALID"
    assert "src/other.ts" in message
    code, message = await fails(
        stack, alone | {"worker.js": b'import x from "not-there";\nx();\n'}, tmp_path / "import"
    )
    assert code == "BUILD_DEPENDENCY_MISSING"
    assert "not-there" in message
    code, message = await fails(stack, alone | {"worker.js": b"export default {\n"}, tmp_path / "syntax")
    assert code == "BUILD_SYNTAX_ERROR"
    code, message = await fails(stack, alone | {"worker.js": b'throw new Error("at its start");\n'}, tmp_path / "start")
    assert code == "RELEASE_PROBE_FAILED"
    assert "at its start" in message
    public = apps.static_html() | {"_worker.js": b"export default {}\n"}
    code, message = await fails(stack, public, tmp_path / "public")
    assert code == "BUILD_OUTPUT_INVALID"
    assert "_worker.js" in message
