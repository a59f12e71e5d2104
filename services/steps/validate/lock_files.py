"""Which package manager and version a project uses, by its lock file and package.json."""

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

from services.steps.validate.package_json import PackageJson, read_package_json
from services.steps.validate.tree import Tree

LOCK_FILES = {
    "pnpm": ("pnpm-lock.yaml",),
    "bun": ("bun.lock", "bun.lockb"),
    "yarn": ("yarn.lock",),
    "npm": ("package-lock.json", "npm-shrinkwrap.json"),
}
"""Lock files by manager; where several lie together and nothing else decides, the first wins."""
READ_BESIDE = ("package.json", "pnpm-lock.yaml", "yarn.lock", ".yarnrc.yml")
"""The files that are read in the root and in the folders above it."""
BERRY = "4.18.1"
"""The yarn for a lock file of yarn 2 or later in a project that names no version."""

_PNPM_OF_LOCK = {"5": "7.33.7", "6": "8.15.9"}
_PNPM_LOCK_VERSION = re.compile(rb"^lockfileVersion: '?(\d+)", re.MULTILINE)
_YARN_PATH = re.compile(rb"^yarnPath:.*yarn-(\d+\.\d+\.\d+)\.c?js", re.MULTILINE)


class Choice(NamedTuple):
    """The package manager, its exact version or "", the lock file's path in the tree or "", and warnings."""

    manager: str
    version: str = ""
    lock: str = ""
    warnings: tuple[str, ...] = ()


def choose_manager(tree: Tree, root: str, package: PackageJson) -> Choice:
    """Decide which manager installs the project in `root`."""
    wanted, version = package.manager
    for folder in folders_upward(root):
        locks = {
            manager: tree.join(folder, name)
            for manager, names in LOCK_FILES.items()
            for name in reversed(names)
            if tree.join(folder, name) in tree.files
        }
        if not locks or (folder != root and not _is_member(tree, folder, root)):
            continue
        if folder != root and not wanted and (path := tree.join(folder, "package.json")) in tree.texts:
            wanted, version = read_package_json(path, tree.texts[path]).manager
        return _by_lock(tree, locks, wanted, version)
    manager = wanted or "npm"
    warning = f"no lock file: {manager} installs the newest versions that package.json allows; commit a lock file"
    return Choice(manager, version, warnings=(warning,))


def folders_upward(root: str) -> Iterator[str]:
    """Yield the root folder and each folder above it, "." last."""
    while root != ".":
        yield root
        root = posixpath.dirname(root) or "."
    yield root


def _is_member(tree: Tree, folder: str, root: str) -> bool:
    """Whether the lock file in `folder` covers the workspace `root` below it."""
    member = posixpath.relpath(root, folder)
    package, pnpm = tree.join(folder, "package.json"), tree.join(folder, "pnpm-lock.yaml")
    importer = re.compile(rf"^  '?{re.escape(member)}'?:".encode(), re.MULTILINE)
    if importer.search(tree.texts.get(pnpm, b"")):
        return True
    return package in tree.texts and read_package_json(package, tree.texts[package]).has_member(member)


def _by_lock(tree: Tree, locks: dict[str, str], wanted: str, version: str) -> Choice:
    warnings = []
    manager = wanted if wanted in locks else next(iter(locks))
    names = ", ".join(posixpath.basename(path) for path in locks.values())
    if wanted and wanted not in locks:
        warnings.append(f"package.json asks for {wanted}, but there is {names}: {manager} is used")
    elif len(locks) > 1 and not wanted:
        warnings.append(f"several lock files ({names}): {manager} is used; delete the others, or set `packageManager`")
    lock = locks[manager]
    exact = version if wanted == manager else ""
    return Choice(manager, exact or _version_of_lock(tree, manager, lock), lock, tuple(warnings))


def _version_of_lock(tree: Tree, manager: str, lock: str) -> str:
    """Return the version that can read the lock file where the default one cannot, else ""."""
    text = tree.texts.get(lock, b"")
    if manager == "pnpm" and (match := _PNPM_LOCK_VERSION.search(text)):
        return _PNPM_OF_LOCK.get(match[1].decode(), "")
    if manager == "yarn" and b"\n__metadata:" in text:
        settings = tree.texts.get(tree.join(posixpath.dirname(lock), ".yarnrc.yml"), b"")
        match = _YARN_PATH.search(settings)
        return match[1].decode() if match else BERRY
    return ""
