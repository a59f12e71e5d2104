"""Apps with a Worker, through the whole pipeline: bundled in the sandbox, run at the edge, rolled back."""

import hashlib
import re
from pathlib import Path

from shared.client import Client
from tests.e2e import apps
from tests.e2e.apps import Tree, write
from tests.fakes.cloudflare import fake_cloudflare
from tests.live import Deployed, LiveStack, live_stack


async def live(stack: LiveStack, folder: Path) -> tuple[Deployed, str]:
    """Deploy a folder that must go live; return its address."""
    deployed = await stack.deploy(folder)
    assert deployed.result["status"] == "completed", (deployed.result, deployed.log)
    return deployed, deployed.result["workerUrl"]


async def newest_project(client: Client) -> str:
    """Return the id of the project that was made last."""
    return (await anext(client.projects())).id


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


async def test_what_a_build_says_is_to_be_deployed_is_deployed(stack: LiveStack, tmp_path: Path) -> None:
    deployed, url = await live(stack, write(apps.react_router(), tmp_path))
    assert any("deployed as build/server/wrangler.json says" in line for line in deployed.log)
    page = (await stack.get(url)).text
    assert re.search(r"<h1>Hello from (<!-- -->)?Ada</h1>", page)
    script = re.search(r'src="/(assets/[^"]+\.js)"|import\("/(assets/[^"]+\.js)"\)|href="/(assets/[^"]+\.js)"', page)
    assert script
    answer = await stack.get(url + next(filter(None, script.groups())))
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/javascript")
    assert (await stack.get(f"{url}wrangler.json")).status_code == 404


async def test_a_worker_alone_answers_every_path(stack: LiveStack, tmp_path: Path) -> None:
    _, url = await live(stack, write(apps.worker_alone(), tmp_path))
    assert (await stack.get(f"{url}a/b")).text == "<h1>alone at /a/b</h1>"


async def test_a_worker_finds_the_secrets_of_its_release_also_after_a_rollback(
    stack: LiveStack, tmp_path: Path
) -> None:
    folder = write(apps.worker_with_page(), tmp_path)
    async with Client(stack.connection.url, stack.connection.token) as client:
        await live(stack, folder)
        project = await newest_project(client)
        for secret in ("first", "second"):
            await client.env.set(project, {"SECRET": secret})
            _, url = await live(stack, folder)
            assert (await stack.get(f"{url}api")).json() == {"name": "Ada", "secret": secret}
        _, first, without = [release.id async for release in client.releases.all(project)]
        for release, answer in ((first, {"name": "Ada", "secret": "first"}), (without, {"name": "Ada"})):
            await client.releases.roll_back(project, release)
            assert (await stack.get(f"{url}api")).json() == answer


async def test_a_worker_goes_live_on_cloudflare_with_its_files_and_secrets(tmp_path: Path) -> None:
    async with fake_cloudflare() as fake:
        environ = {name.upper(): value for name, value in fake.settings.items()}
        async with live_stack(tmp_path / "data", environ=environ) as stack:
            folder = write(apps.worker_with_page(), tmp_path / "app")
            await live(stack, folder)
            async with Client(stack.connection.url, stack.connection.token) as client:
                project = await newest_project(client)
                await client.env.set(project, {"SECRET": "on cloudflare"})
                await client.change_project(project, settings={"target": "cloudflare"})
            deployed, url = await live(stack, folder)
            assert url.startswith(f"http://127.0.0.1:{fake.port}/_sites/")
            script = fake.script(url.rstrip("/").rpartition("/")[2])
            media_type, bundle = script.modules[script.metadata["main_module"]]
            assert media_type == "application/javascript+module"
            assert b"env.NAME" in bundle
            assert {"name": "NAME", "type": "plain_text", "text": "Ada"} in script.metadata["bindings"]
            assert script.secrets == {"SECRET": "on cloudflare"}
            assert "/index.html" in script.assets
            assert not any("on cloudflare" in line for line in deployed.log)


async def test_where_the_runtime_can_t_be_installed_workers_are_refused_and_sites_go_live(tmp_path: Path) -> None:
    nowhere = {"npm_config_registry": "http://127.0.0.1:9/"}
    async with live_stack(tmp_path / "data", environ=nowhere) as stack:
        code, message = await fails(stack, apps.worker_alone(), tmp_path / "worker")
        assert code == "WORKER_RUNTIME_MISSING"
        assert "workerd" in message
        await live(stack, write(apps.static_html(), tmp_path / "site"))


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
