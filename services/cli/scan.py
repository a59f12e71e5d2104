"""A folder as the tree that is deployed: what is synced, its digests, and what stands in the way."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from services.cli.errors import SourceRefused
from services.cli.render import in_bytes
from shared.ports import Entry, Manifest
from shared.source_rules import MAX_FILE_BYTES, MAX_FILES, is_synced, may_hold_synced

_HASH_THREADS = 4


@dataclass(frozen=True, slots=True)
class Source:
    """A scanned folder.

    Attributes:
        folder: its absolute path.
        manifest: its files.
        paths: where each digest's bytes are (one place, if several files are alike).
        warnings: what was left out and why, one sentence each.
    """

    folder: Path
    manifest: Manifest
    paths: dict[str, Path]
    warnings: tuple[str, ...]


def scan(folder: Path) -> Source:
    """Read a folder.

    Raises:
        SourceRefused: no such folder, nothing in it, a limit is passed, or a file cannot be read.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise SourceRefused(f"{folder} is not a folder. Name the folder of your project: `zepid deploy DIR`.")
    walk = _Walk(root)
    try:
        files = dict(walk.files(root, "", (root,)))
        _check(root, files)
        with ThreadPoolExecutor(_HASH_THREADS) as pool:
            entries = dict(zip(files, pool.map(_entry, files.values()), strict=True))
    except OSError as error:
        raise SourceRefused(f"{error.filename} cannot be read: {error.strerror}. Nothing was sent.") from None
    ordered = {path: entries[path] for path in sorted(entries)}
    paths = {entry.digest: files[path] for path, entry in ordered.items()}
    return Source(root, Manifest(ordered), paths, tuple(walk.warnings))


def _check(root: Path, files: dict[str, Path]) -> None:
    if not files:
        raise SourceRefused(f"{root} holds no file to deploy. Name the folder of your project: `zepid deploy DIR`.")
    if len(files) > MAX_FILES:
        tops = Counter(path.rpartition("/")[0] or "." for path in files).most_common(3)
        places = ", ".join(f"{folder} ({count:,})" for folder, count in tops)
        raise SourceRefused(
            f"{root} has {len(files):,} files; at most {MAX_FILES:,} can be deployed. Most are in: {places}. "
            "Move what the site does not need out of the folder. Nothing was sent."
        )
    for path, file in files.items():
        if (size := file.stat().st_size) > MAX_FILE_BYTES:
            raise SourceRefused(
                f"{path} has {in_bytes(size)}; a file may have at most {in_bytes(MAX_FILE_BYTES)}. "
                "Make it smaller, or host it elsewhere. Nothing was sent."
            )


def _entry(file: Path) -> Entry:
    data, mode = file.read_bytes(), file.stat().st_mode
    return Entry(blake3(data).hexdigest(), len(data), 0o755 if mode & stat.S_IXUSR else 0o644)


def _utf8(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise SourceRefused(f"The file name {os.fsencode(name)!r} is not UTF-8. Rename it. Nothing was sent.") from None
    return name


@dataclass
class _Walk:
    root: Path
    warnings: list[str] = field(default_factory=list)

    def files(self, folder: Path, prefix: str, trail: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
        """Yield each synced file below a folder: its path in the tree and where its bytes are.

        Args:
            folder: the folder, links resolved.
            prefix: its path in the tree with a `/` behind, "" for the root.
            trail: the resolved folders on the way to it, to end loops of links.
        """
        with os.scandir(folder) as listing:
            items = sorted(listing, key=lambda item: item.name)
        for item in items:
            path = prefix + _utf8(item.name)
            target = self._target(item, path)
            if target is None:
                continue
            if target.is_dir():
                if not may_hold_synced(path):
                    continue
                if target in trail:
                    self.warnings.append(f"{path} links back to a folder above it and was left out.")
                    continue
                yield from self.files(target, f"{path}/", (*trail, target))
            elif not is_synced(path):
                continue
            elif target.is_file():
                yield path, target
            else:
                self.warnings.append(f"{path} is neither a file nor a folder and was left out.")

    def _target(self, item: "os.DirEntry[str]", path: str) -> Path | None:
        """Return what an item stands for: itself, or what a link inside the tree leads to."""
        if not item.is_symlink():
            return Path(item.path)
        if not may_hold_synced(path):
            return None
        try:
            target = Path(item.path).resolve(strict=True)
        except (OSError, RuntimeError):
            self.warnings.append(f"{path} is a link to nothing and was left out.")
            return None
        if not target.is_relative_to(self.root):
            self.warnings.append(f"{path} links to a place outside the folder and was left out.")
            return None
        within = target.relative_to(self.root).as_posix()
        if not (may_hold_synced(within) if target.is_dir() else is_synced(within)):
            self.warnings.append(f"{path} links to {within}, which is never synced, and was left out.")
            return None
        return target
