"""Apps as people write them, installed and built for real, and looked at where visitors find them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import apps
from tests.e2e.apps import Tree, write
from tests.live import Deployed, LiveStack

INSTALLED = "dependencies installed"
RESTORED = "dependencies restored: nothing that decides them has changed"
UNCHANGED = "nothing changed since an earlier build: releasing its output again"


@dataclass(frozen=True)
class Site:
    """A live site, asked as a browser would."""

    stack: LiveStack
    url: str
    release: str

    async def fetch(self, path: str, kind: str) -> bytes:
        """Return a file's bytes; it must be of this release and kind."""
        answer = await self.stack.get(self.url + path)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["x-zepid-release"] == self.release
        assert answer.headers["content-type"].startswith(kind)
        return answer.content

    async def script(self) -> str:
        """Return the bundle that the page loads."""
        page = (await self.fetch("", "text/html")).decode()
        found = re.search(r'src="/(assets/[^"]+\.js)"', page)
        assert found, page
        return (await self.fetch(found[1], "text/javascript")).decode()


async def deploy(stack: LiveStack, folder: Path) -> tuple[Deployed, Site]:
    """Deploy a folder that must go live."""
    deployed = await stack.deploy(folder)
    result = deployed.result
    assert (deployed.exit_code, result["status"]) == (0, "completed"), (result, deployed.log)
    release = "rel_" + result["deploymentId"].removeprefix("deploy_")
    return deployed, Site(stack, result["workerUrl"], release)


def files_sent(deployed: Deployed) -> int:
    """Return how many files the upload had to send; it must have sent them all."""
    last = [line for line in deployed.lines if line["type"] == "upload"][-1]
    assert last["files"] == last["totalFiles"]
    return int(last["totalFiles"])


def commands_of(deployed: Deployed) -> list[str]:
    """Return the command lines that were run in the sandbox."""
    ours = [line["message"] for line in deployed.lines if line["type"] == "log" and line["stream"] == "system"]
    return [line.removeprefix("$ ") for line in ours if line.startswith("$ ")]


def says(deployed: Deployed, text: str) -> bool:
    return any(text in line for line in deployed.log)


async def test_a_react_app_goes_live_and_only_what_changed_is_worked_on_again(stack: LiveStack, tmp_path: Path) -> None:
    folder = write(apps.react_ts(), tmp_path)

    first, site = await deploy(stack, folder)
    assert files_sent(first) > 0
    assert says(first, INSTALLED)
    assert b"<title>React app</title>" in await site.fetch("", "text/html")
    assert "Hello from React" in await site.script()

    unchanged, again = await deploy(stack, folder)
    assert files_sent(unchanged) == 0
    assert says(unchanged, UNCHANGED)
    assert commands_of(unchanged) == []
    assert again.release != site.release
    assert "Hello from React" in await again.script()

    write({"src/App.tsx": b"export const App = () => <h1>Hello again</h1>;\n"}, folder)
    changed, newer = await deploy(stack, folder)
    assert files_sent(changed) == 1
    assert says(changed, RESTORED)
    assert not says(changed, INSTALLED)
    assert "Hello again" in await newer.script()


async def test_a_folder_of_html_goes_live_byte_for_byte(stack: LiveStack, tmp_path: Path) -> None:
    tree = apps.static_html()
    deployed, site = await deploy(stack, write(tree, tmp_path))
    assert commands_of(deployed) == []
    kinds = {"html": "text/html", "css": "text/css", "png": "image/png", "txt": "text/plain"}
    for path, content in tree.items():
        address = path.removesuffix("index.html").removesuffix(".html")
        assert await site.fetch(address, kinds[path.rpartition(".")[2]]) == content
    missing = await stack.get(f"{site.url}nowhere")
    assert (missing.status_code, missing.content) == (404, tree["404.html"])


@pytest.mark.parametrize(("manager", "tree"), [("pnpm", apps.pnpm_app), ("bun", apps.bun_app)])
async def test_an_app_goes_live_with_the_package_manager_that_locked_it(
    manager: str, tree: Callable[[], Tree], stack: LiveStack, tmp_path: Path
) -> None:
    deployed, site = await deploy(stack, write(tree(), tmp_path))
    commands = commands_of(deployed)
    assert [command.split()[0] for command in commands] == [manager] * 2
    assert "--frozen-lockfile" in commands[0]
    assert f"Hello from {manager}" in await site.script()


async def test_a_build_that_prints_errors_and_exits_0_goes_live(stack: LiveStack, tmp_path: Path) -> None:
    deployed, site = await deploy(stack, write(apps.prints_error_but_succeeds(), tmp_path))
    assert says(deployed, "ERROR: Build failed with 3 errors")
    assert b"<h1>Fine after all</h1>" in await site.fetch("", "text/html")
