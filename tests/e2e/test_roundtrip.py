"""Any tree arrives as it was: in the store, in the sandbox, in the build, and at the edge."""

import hashlib
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urljoin

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.cli.events import DeployEvent, Upload
from services.cli.scan import scan
from services.cli.upload import upload
from shared.adapters.objects import ARTIFACTS, open_objects
from shared.adapters.sandboxes.local import LocalSandboxes
from shared.blobs import digest_of, encode_manifest, load_manifest
from shared.client import Client
from shared.ports import Fence
from shared.source_rules import is_synced
from tests.live import Deployed, LiveStack

FENCE = Fence(0, 0, 0, 1)
MANY = 5_000

Content = tuple[bytes, bool]
"""A file's bytes, and whether it may be executed."""
Files = dict[str, Content]

TELLING = {
    "login.tsx": (b"export const Login = 1;\n", False),
    "src/builder.tsx": (b"export const Builder = 1;\n", False),
    "src/build/catalogue.ts": (b"export {};\n", False),
    ".well-known/security.txt": (b"Contact: mailto:security@example.org\n", False),
    ".npmrc": (b"# nothing set\r\n", False),
    "empty": (b"", False),
    "bytes.bin": (bytes(range(256)) * 40, False),
    "bin/run": (b"#!/bin/sh\nexit 0\n", True),
    "an empty one that runs": (b"", True),
    unicodedata.normalize("NFC", "café.txt"): (b"composed", False),
    unicodedata.normalize("NFD", "café.txt"): (b"decomposed", False),
    "🚀/👩‍👩‍👧/日本語.md": (b"emoji and kanji", False),
    "/".join("deep" for _ in range(40)) + "/down.txt": (b"down here", False),
}
"""Names and contents that went wrong somewhere, some time."""

AWKWARD = (
    *("a b.txt", "100%.txt", "%41.txt", "a+b.txt", "a#b.txt", "a?b=c.txt", "a&b;c.txt", 'it\'s "so".txt'),
    *("back\\slash.txt", "~tilde.txt", "[x](y)!*.txt", "naïve.txt", "🚀.txt"),
)
"""Names that a URL must encode."""

names = st.one_of(
    st.sampled_from(sorted({part for path in TELLING for part in path.split("/")})),
    st.text(st.characters(codec="utf-8", exclude_characters="/", exclude_categories=["Cc"]), min_size=1, max_size=20),
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255)
paths = st.lists(names, min_size=1, max_size=5).map("/".join).filter(is_synced)
trees = st.dictionaries(paths, st.tuples(st.binary(max_size=300), st.booleans()), min_size=1, max_size=12).map(
    lambda files: {
        path: content for path, content in files.items() if not any(is_below(other, path) for other in files)
    }
)


def is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def write(files: Files, folder: Path) -> Path:
    for path, (data, executable) in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755 if executable else 0o644)
    return folder


class Uploads:
    """A view that remembers what was sent."""

    def __init__(self) -> None:
        self.seen: list[Upload] = []

    def show(self, event: DeployEvent) -> None:
        if isinstance(event, Upload):
            self.seen.append(event)

    def close(self) -> None:
        """Nothing to put back."""


@contextmanager
def sandbox_folder(root: Path) -> Iterator[LocalSandboxes]:
    folder = root / "sandboxes-of-the-test"
    try:
        yield LocalSandboxes(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@settings(
    max_examples=15, deadline=None, phases=[Phase.reuse, Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(files=trees)
async def test_any_tree_reaches_the_sandbox_bit_for_bit(stack: LiveStack, files: Files) -> None:
    with TemporaryDirectory() as folder, sandbox_folder(stack.data_dir) as sandboxes:
        manifest = await uploaded(stack, write(files, Path(folder)))
        objects = open_objects(stack.settings.object_store_url, ARTIFACTS)
        stored = await load_manifest(objects, manifest)
        await sandboxes.create("one", "local")
        await sandboxes.write("one", FENCE, stored, objects)
        found = {file.path: (file.data, file.mode) async for file in sandboxes.collect("one", FENCE, ".")}
        await sandboxes.destroy("one")
    assert found == {path: (data, 0o755 if executable else 0o644) for path, (data, executable) in files.items()}


async def test_an_archive_that_ends_with_its_record_is_collected_whole(stack: LiveStack, tmp_path: Path) -> None:
    """tar writes records of 20 blocks; here the first of its two closing blocks is the last of a record."""
    files: Files = {f"empty {number}": (b"", False) for number in range(19)}
    with sandbox_folder(stack.data_dir) as sandboxes:
        manifest = await uploaded(stack, write(files, tmp_path))
        objects = open_objects(stack.settings.object_store_url, ARTIFACTS)
        await sandboxes.create("one", "local")
        await sandboxes.write("one", FENCE, await load_manifest(objects, manifest), objects)
        for _ in range(30):
            found = {file.path async for file in sandboxes.collect("one", FENCE, ".")}
            assert found == set(files)
        await sandboxes.destroy("one")


async def uploaded(stack: LiveStack, folder: Path) -> str:
    """Upload a folder, twice, and return its manifest's digest."""
    view = Uploads()
    source = scan(folder)
    async with Client(stack.connection.url, stack.connection.token) as client:
        project = await client.create_project("any tree", stack.connection.organization_id)
        first = await upload(client, project, source, view)
        again = Uploads()
        assert await upload(client, project, source, again) == first
    assert view.seen[-1].files == view.seen[-1].total_files
    assert again.seen == [Upload(files=0, total_files=0, bytes=0, total_bytes=0)]
    return digest_of(encode_manifest(source.manifest))


LISTING = b"""
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const tree = {};
for (const item of readdirSync(".", { recursive: true, withFileTypes: true })) {
  const path = join(item.parentPath, item.name);
  if (!item.isFile() || path.startsWith("node_modules/")) continue;
  const digest = createHash("sha256").update(readFileSync(path)).digest("hex");
  tree[path] = [digest, statSync(path).mode & 0o777];
}
mkdirSync("dist");
writeFileSync("dist/index.html", "<p>A tree</p>");
writeFileSync("dist/tree.json", JSON.stringify(tree));
"""


async def test_the_build_of_five_thousand_files_sees_each_as_it_was(stack: LiveStack, tmp_path: Path) -> None:
    package = msgspec.json.encode({"name": "tree", "type": "module", "scripts": {"build": "node listing.js"}})
    lock = {"name": "tree", "lockfileVersion": 3, "requires": True, "packages": {"": {"name": "tree"}}}
    files: Files = TELLING | {
        "package.json": (package, False),
        "package-lock.json": (msgspec.json.encode(lock), False),
        "listing.js": (LISTING, False),
    }
    for number in range(MANY - len(files)):
        files[f"src/part {number // 100}/{number}.bin"] = (
            hashlib.sha512(b"%d" % (number % 1000)).digest(),
            number % 7 == 0,
        )
    folder = write(files, tmp_path)

    deployed = await stack.deploy(folder)
    assert deployed.exit_code == 0, deployed.result
    answer = await stack.get(f"{deployed.result['workerUrl']}tree.json")
    assert answer.json() == {
        path: [hashlib.sha256(data).hexdigest(), 0o755 if executable else 0o644]
        for path, (data, executable) in files.items()
    }

    again = await stack.deploy(folder)
    assert (again.exit_code, uploads(again)) == (0, [(0, 0)])


def uploads(deployed: Deployed) -> list[tuple[int, int]]:
    return [(line["files"], line["totalFiles"]) for line in deployed.lines if line["type"] == "upload"]


async def test_a_static_sites_files_are_served_under_their_encoded_names(stack: LiveStack, tmp_path: Path) -> None:
    hidden = {path for path in TELLING if path.startswith(".") and not path.startswith(".well-known/")}
    files: Files = TELLING | {name: (name.encode(), False) for name in AWKWARD}
    files["index.html"] = (b"<p>home</p>", False)
    deployed = await stack.deploy(write(files, tmp_path))
    assert deployed.exit_code == 0, deployed.result
    for path, (data, _) in files.items():
        url = deployed.result["workerUrl"] + quote(path)
        answer = await stack.get(url)
        if answer.is_redirect:
            answer = await stack.get(urljoin(url, answer.headers["location"]))
        expected = (404, b"") if path in hidden else (200, data)
        assert (answer.status_code, answer.content if answer.is_success else b"") == expected, path
