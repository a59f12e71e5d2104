"""What of a folder is deployed, and what is refused before anything is sent."""

import os
from pathlib import Path

import pytest
from blake3 import blake3

from services.cli import scan as scanning
from services.cli.errors import SourceRefused
from services.cli.scan import scan
from shared.ports import Entry
from shared.source_rules import is_synced, may_hold_synced

ARRIVE = (
    "login.tsx",
    "src/builder.tsx",
    "ui/dialog.tsx",
    "distance.ts",
    "src/build/index.ts",
    "src/coverage.ts",
    ".env.example",
    "environment.ts",
    ".github/workflows/ci.yml",
    "catalog/logs.ts",
    "notes.log/page.html",
    "my.git/x",
    ".envrc",
    "template.template",
    ".cached/x",
)
STAY = (
    "node_modules/react/index.js",
    "packages/a/node_modules/b.js",
    ".git/config",
    "dist/index.html",
    "packages/a/dist/index.js",
    "build/index.html",
    ".next/x",
    ".nuxt/x",
    ".output/x",
    "coverage/x",
    ".nyc_output/x",
    ".cache/x",
    ".parcel-cache/x",
    ".DS_Store",
    "src/.DS_Store",
    "Thumbs.db",
    ".env",
    "apps/web/.env",
    ".env.local",
    ".env.production",
    "npm-debug.log",
    "src/x.tmp",
    "src/x.temp",
    ".zepid/client.json",
)


@pytest.mark.parametrize("path", ARRIVE)
def test_a_name_that_only_resembles_an_excluded_one_is_synced(path: str) -> None:
    assert is_synced(path)


@pytest.mark.parametrize("path", STAY)
def test_an_excluded_segment_or_file_name_is_not_synced(path: str) -> None:
    assert not is_synced(path)


def test_a_folder_named_like_an_excluded_file_is_entered() -> None:
    assert may_hold_synced("notes.log")
    assert not may_hold_synced("src/node_modules")


@pytest.mark.parametrize("path", ARRIVE)
def test_each_path_arrives_with_its_digest_size_and_mode(tmp_path: Path, path: str) -> None:
    data = path.encode() * 3
    write(tmp_path, path, data).chmod(0o755)
    write(tmp_path, "node_modules/x/index.js", b"no")

    assert scan(tmp_path).manifest.files == {path: Entry(blake3(data).hexdigest(), len(data), 0o755)}


def test_unicode_names_empty_files_and_binary_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    names = {"ünï/코드.txt": b"", "cafe\u0301.txt": b"\x00\xff\r\n", "with space & 'quote'.md": b"x", "a\nb": b"y"}
    for name, data in names.items():
        write(tmp_path, name, data)

    files = scan(tmp_path).manifest.files

    assert {name: entry.digest for name, entry in files.items()} == {n: blake3(d).hexdigest() for n, d in names.items()}
    assert list(files) == sorted(files)


def test_links_inside_the_folder_are_followed_and_others_are_named(tmp_path: Path) -> None:
    root = tmp_path / "site"
    write(root, "shared/a.txt", b"a")
    write(root, ".env", b"secret")
    write(tmp_path, "outside.txt", b"outside")
    links = {
        "b.txt": "shared/a.txt",
        "copy": "shared",
        "shared/up": "..",
        "out.txt": "../outside.txt",
        "none": "nowhere",
        "settings": ".env",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe")

    source = scan(root)

    assert set(source.manifest.files) == {"shared/a.txt", "b.txt", "copy/a.txt"}
    left_out = {warning.split(" ")[0] for warning in source.warnings}
    assert left_out == {"shared/up", "copy/up", "out.txt", "none", "settings", "pipe"}


def test_a_file_that_is_too_large_is_named_with_its_size(tmp_path: Path) -> None:
    with write(tmp_path, "assets/film.mp4", b"").open("wb") as film:
        film.truncate(30_000_000)

    with pytest.raises(SourceRefused, match=r"assets/film\.mp4 has 30\.0 MB.*Nothing was sent"):
        scan(tmp_path)


def test_too_many_files_are_counted_and_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "MAX_FILES", 3)
    for number in range(4):
        write(tmp_path, f"photos/{number}.png", b"x")

    with pytest.raises(SourceRefused, match=r"has 4 files; at most 3 .*photos \(4\)"):
        scan(tmp_path)


def test_a_missing_or_empty_folder_is_refused_with_advice(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(SourceRefused, match="zepid deploy DIR"):
            scan(folder)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")

    with pytest.raises(SourceRefused, match="not UTF-8"):
        scan(tmp_path)


def write(root: Path, path: str, data: bytes) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file
