"""What a project says about how it is served: read from its configuration and its output."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from services.steps.validate.plan import files_to_read, make_plan
from services.steps.validate.tree import Tree
from shared import blobs, jsonc
from shared.adapters.objects import ARTIFACTS, open_objects
from shared.assets import asset_tree
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan, WorkerPlan
from shared.hosting import AssetRules, Hosting, Module, WorkerScript
from shared.media_types import content_type_of, extension_of
from shared.ports import Entry, Manifest
from shared.wrangler_config import config_path, parse_config

CONFIG = """{
  // a comment, and "a string" in it
  "name": "shop", /* another, */
  "compatibility_date": "2025-01-01",
  "compatibility_flags": ["nodejs_compat",],
  "vars": {"URL": "https://example.com//a", "TEXT": "no /* comment */ here, }"},
  "assets": {
    "directory": "./dist",
    "not_found_handling": "single-page-application",
  },
}
"""
TOML = """
main = "src/index.ts"
[assets]
directory = "./site"
html_handling = "none"
run_worker_first = true
"""
PACKAGE = '{"scripts": {"build": "vite build"}}'


def plan_of(files: Mapping[str, str], **settings: str) -> BuildPlan:
    texts = {path: text.encode() for path, text in files.items()}
    read = files_to_read(Tree(texts), settings)
    return make_plan(Tree(texts, {path: texts[path] for path in read}), settings)


def test_json_with_comments_and_last_commas_is_read() -> None:
    config = parse_config("wrangler.jsonc", CONFIG.encode())
    assert config.vars == {"URL": "https://example.com//a", "TEXT": "no /* comment */ here, }"}
    assert config.hosting == Hosting(
        "2025-01-01", ("nodejs_compat",), AssetRules(not_found_handling="single-page-application")
    )


@pytest.mark.parametrize("text", ["[1, 2, // last\n]", "[1, 2, /* , */ ]", "\ufeff[1, 2]", "[1/**/,/**/2]"])
def test_comments_may_stand_anywhere(text: str) -> None:
    assert jsonc.decode(text) == [1, 2]


@pytest.mark.parametrize("text", ["[1,,]", "{", "// nothing", '"a /* b'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        jsonc.decode(text)


def test_the_plan_follows_the_configuration() -> None:
    plan = plan_of({"package.json": PACKAGE, "wrangler.toml": TOML})
    assert plan.output == "site"
    assert plan.hosting == Hosting(assets=AssetRules("none", None, True))
    assert plan.worker == WorkerPlan(entry="src/index.ts")


def test_the_projects_own_setting_of_the_output_wins() -> None:
    assert plan_of({"package.json": PACKAGE, "wrangler.toml": TOML}, outputDirectory="out").output == "out"


def test_a_folder_without_a_build_is_served_as_configured() -> None:
    plan = plan_of({"pages/index.html": "x", "wrangler.jsonc": '{"assets": {"directory": "./pages/"}}'})
    assert (plan.output, plan.build, plan.hosting) == ("pages", "", None)


def test_the_configuration_beside_the_package_counts() -> None:
    files = {"app/package.json": PACKAGE, "app/wrangler.json": CONFIG, "wrangler.toml": TOML}
    assert plan_of(files, rootDirectory="app").output == "dist"
    assert config_path({"wrangler.toml", "wrangler.jsonc", "wrangler.json"}, ".") == "wrangler.json"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("wrangler.json", "{", "wrangler.json cannot be read"),
        ("wrangler.toml", "[assets", "wrangler.toml cannot be read"),
        ("wrangler.jsonc", '{"assets": {"html_handling": "sometimes"}}', "sometimes"),
        ("wrangler.jsonc", '{"assets": {"directory": "../secrets"}}', "outputDirectory"),
    ],
)
def test_a_wrong_configuration_is_named(name: str, text: str, said: str) -> None:
    with pytest.raises(ZepidError, match=said) as refused:
        plan_of({"package.json": PACKAGE, name: text})
    assert refused.value.code.name == "BUILD_PLAN_INVALID"


async def test_rules_are_told_from_assets(tmp_path: Path) -> None:
    objects = open_objects(f"file://{tmp_path}", ARTIFACTS)
    texts = {
        "_headers": b"/*\n  A: b\n",
        ".assetsignore": b"*.map\n!keep.map\n",
        "a.map": b"",
        "keep.map": b"",
        "b/_headers": b"",
    }
    files = {path: Entry(await blobs.store(objects, data), len(data)) for path, data in texts.items()}
    tree = await asset_tree(Manifest(files), objects)
    assert set(tree.files) == {"keep.map", "b/_headers"}
    assert (tree.headers, tree.redirects) == ("/*\n  A: b\n", None)


def test_a_manifest_names_the_blobs_of_its_worker_and_keeps_its_digest_without_one() -> None:
    plain = Manifest({"index.html": Entry("d1", 1)})
    assert blobs.encode_manifest(plain) == b'{"files":{"index.html":{"digest":"d1","size":1}}}'
    worker = WorkerScript("index.js", {"index.js": Module("d2", 1)})
    hosted = Manifest(plain.files, Hosting(worker=worker))
    assert list(hosted.digests) == ["d1", "d2"]
    assert msgspec.json.decode(blobs.encode_manifest(hosted), type=Manifest) == hosted


@pytest.mark.parametrize(
    ("path", "extension", "content_type"),
    [
        ("a/index.html", "html", "text/html; charset=utf-8"),
        ("A.HTML", "HTML", "text/html; charset=utf-8"),
        ("app.js", "js", "text/javascript; charset=utf-8"),
        ("data.json", "json", "application/json"),
        (".hidden", "", None),
        ("LICENSE", "", None),
        ("v1.2/LICENSE", "", None),
        ("a.unknown", "unknown", None),
    ],
)
def test_types_are_those_that_cloudflare_serves(path: str, extension: str, content_type: str | None) -> None:
    assert (extension_of(path), content_type_of(path)) == (extension, content_type)
