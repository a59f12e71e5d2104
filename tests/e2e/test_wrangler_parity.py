"""`wrangler deploy` and our publisher leave the same state behind, so the fake of Cloudflare's API is honest.

What is ours alone is taken away before comparing: the tags by which a script is known to be a release,
and the first rule of `_headers`, by which its answers are.
"""

from collections.abc import AsyncIterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from shared import media_types
from shared.adapters.publishers.cloudflare.script import release_rule
from shared.hosting import Hosting
from shared.wrangler_config import parse_config
from tests.cloudflare_world import CloudflareWorld, cloudflare_world
from tests.fakes.cloudflare import NAMESPACE, FakeCloudflare, fake_cloudflare
from tests.wrangler import DEPLOY_SECONDS, INSTALL_SECONDS, Wrangler, install_wrangler

pytestmark = pytest.mark.timeout(INSTALL_SECONDS + DEPLOY_SECONDS + 60)
RELEASE = "rel_1"
MODULES = {
    "index.js": b"import { hello } from './lib/hello.js';\nexport default { fetch: () => new Response(hello) };\n",
    "lib/hello.js": b"export const hello = 'hello';\n",
}
EVERY_TYPE = {f"types/file.{extension}": extension.encode() for extension in media_types._table()}
ASSETS = {
    "index.html": b"<h1>hello</h1>",
    "copy/of.html": b"<h1>hello</h1>",
    "UPPER.HTML": b"<h1>hello</h1>",
    "unknown.zzz": b"?",
    "LICENSE": b"free",
    ".well-known/security.txt": b"mail us",
    ".hidden": b"\x00\xff",
    "dots.in.name.": b".",
    "a b/\u00e9t\u00e9 \U0001f600.txt": "\u00e9".encode(),
    "empty.css": b"",
    "private/a.txt": b"a",
    "private/kept.txt": b"k",
    "src/a.js.map": b"{}",
    "_headers": b"/assets/*\n  Cache-Control: public, max-age=31536000, immutable\n",
    "_redirects": b"/old /new 301\n",
    ".assetsignore": b"# ours\n*.map\n/private/*\n!/private/kept.txt\nsrc/nothing\n",
}
PLAIN = """{
  // the comments and the last comma are for people
  "name": "shop",
  "compatibility_date": "2025-01-01",
  "assets": { "directory": "./dist", "not_found_handling": "404-page", "html_handling": "drop-trailing-slash", },
}
"""
BOTH = """
name = "shop"
main = "src/index.js"
no_bundle = true
compatibility_date = "2025-01-01"
compatibility_flags = ["nodejs_compat"]
rules = [{ type = "ESModule", globs = ["**/*.js"] }]

[vars]
GREETING = "hi"
LIMITS = { most = 3, list = [1, "two"] }

[assets]
directory = "./dist"
binding = "ASSETS"
not_found_handling = "single-page-application"
run_worker_first = ["/api/*", "!/api/docs/*"]
"""
WORKER = """{
  "name": "shop", "main": "src/index.js", "no_bundle": true, "compatibility_date": "2025-01-01",
  "rules": [{ "type": "ESModule", "globs": ["**/*.js"] }]
}"""
PROJECTS = {
    "assets-only": ("wrangler.jsonc", PLAIN, ASSETS, {}),
    "every-type": ("wrangler.jsonc", PLAIN, EVERY_TYPE, {}),
    "worker-and-assets": ("wrangler.toml", BOTH, {"index.html": b"<div id=app></div>", "app.js": b"1"}, MODULES),
    "worker-only": ("wrangler.json", WORKER, {}, MODULES),
}
CASES = [(project, namespace) for project in PROJECTS for namespace in (True, False)]
CASES.remove(("every-type", False))
NOT_SERVED = {"_headers", "_redirects", ".assetsignore", "private/a.txt", "src/a.js.map"}


@pytest.fixture(scope="module")
def wrangler(tmp_path_factory: pytest.TempPathFactory) -> Wrangler:
    return Wrangler(install_wrangler(), tmp_path_factory.mktemp("home"))


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[CloudflareWorld]:
    async with cloudflare_world(tmp_path / "ours") as world:
        yield world


@pytest.mark.parametrize(("project", "namespace"), CASES)
async def test_both_leave_the_same_state(
    project: str, namespace: bool, wrangler: Wrangler, world: CloudflareWorld, tmp_path: Path
) -> None:
    name, config, assets, modules = PROJECTS[project]
    folder = tmp_path / "project"
    write(folder, {name: config.encode(), **below("dist", assets), **below("src", modules)})
    async with fake_cloudflare() as theirs:
        await wrangler.deploy(folder, theirs, namespace=namespace)
    hosting = await hosting_of(name, config, world, modules, assets)
    world.publisher = world.another_publisher(dispatch_namespace_name=NAMESPACE if namespace else "")
    await world.publish(RELEASE, assets, hosting)
    expected = state(theirs)
    assert without_ours(state(world.fake)) == expected
    assert sorted(expected["assets"]) == sorted(f"/{path}" for path in assets if path not in NOT_SERVED)


async def hosting_of(
    name: str, text: str, world: CloudflareWorld, modules: Mapping[str, bytes], assets: Mapping[str, bytes]
) -> Hosting:
    """What the project's own configuration says, with the Worker's modules added as bundling would."""
    config = parse_config(name, text.encode())
    worker = (await world.worker(modules, **config.vars)).worker if modules else None
    rules = config.hosting.assets if assets else None
    return msgspec.structs.replace(config.hosting, assets=rules, worker=worker)


def state(fake: FakeCloudflare) -> dict[str, Any]:
    """All that is left of a deployment."""
    ((key, script),) = fake.scripts.items()
    return {
        "key": key,
        "metadata": deepcopy(script.metadata),
        "modules": script.modules,
        "assets": script.assets,
        "files": fake.stored.get(key, {}),
        "secrets": script.secrets,
        "subdomain": script.subdomain,
    }


def without_ours(left: dict[str, Any]) -> dict[str, Any]:
    metadata = left["metadata"]
    assert metadata.pop("tags")[0] == RELEASE
    if "assets" in metadata:
        config = metadata["assets"]["config"]
        assert config["_headers"].startswith(release_rule(RELEASE))
        config["_headers"] = config["_headers"].removeprefix(release_rule(RELEASE))
        if not config["_headers"]:
            del config["_headers"]
    return left


def below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{path}": data for path, data in files.items()}


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
