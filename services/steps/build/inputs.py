"""What decides a build and its dependencies, as digests: equal inputs are not worked on twice."""

import posixpath
import re
from typing import Any

import msgspec

from services.steps.build.attempt import Attempt
from shared.blobs import digest_of, key_of, load
from shared.ports import Objects

_DECIDING_FILES = frozenset(
    {
        *("package.json", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"),
        *("bun.lockb", ".npmrc", ".yarnrc", ".yarnrc.yml", "bunfig.toml"),
        *("pnpm-workspace.yaml", ".pnpmfile.cjs", ".pnpmfile.mjs"),
    }
)
_DECIDING_FOLDERS = frozenset({"patches", ".yarn"})
_LIFECYCLE = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare")
_GIT_HOOKS = re.compile(r"\s*(husky|simple-git-hooks|lefthook)\b[^&;|]*(\|\| (true|exit 0))?\s*")
_LOCAL_PACKAGE = re.compile(rb'"(file|link|portal):')
_PLAIN_INSTALL = re.compile(r"(npm|pnpm|yarn|bun) (ci|install|i)( --?[\w=:-]+)*")


class _Scripts(msgspec.Struct):
    scripts: dict[str, str] = {}


def build_key(attempt: Attempt, toolchain: str) -> str:
    """Return the object key that remembers what these inputs were built to, for this organisation only."""
    work = attempt.command.work
    plan = msgspec.to_builtins(attempt.plan)
    inputs = _digest([work.source, plan, sorted(attempt.variables.items()), toolchain])
    return f"builds/{attempt.command.organization_id}/{inputs}"


async def earlier_artifact(objects: Objects, key: str) -> str:
    """Return the artifact that a build key names, "" when there is none or its manifest is gone."""
    remembered = await objects.get(key)
    if remembered is None:
        return ""
    artifact = remembered.decode()
    return artifact if await objects.exists(key_of(artifact)) else ""


async def layer_key(attempt: Attempt, shell: str) -> str:
    """Return the key of the layer with the installed dependencies.

    It covers the files that package managers read. Where an install may read anything else, because
    of lifecycle scripts, local packages or a command of its own, it covers the whole source.
    """
    plan = attempt.plan
    files = [(path, entry.digest) for path, entry in sorted(attempt.source.files.items()) if _decides(path)]
    reads_sources = not _PLAIN_INSTALL.fullmatch(shell) or await _reads_sources(attempt)
    source = attempt.command.work.source if reads_sources else ""
    toolchain = await attempt.ports.sandboxes.toolchain()
    return _digest([toolchain, plan.manager, plan.manager_version, plan.root, shell, files, source])


def _decides(path: str) -> bool:
    *folders, name = path.split("/")
    return name in _DECIDING_FILES or not _DECIDING_FOLDERS.isdisjoint(folders)


async def _reads_sources(attempt: Attempt) -> bool:
    for path, entry in attempt.source.files.items():
        name = posixpath.basename(path)
        if name == "binding.gyp":
            return True
        if name == "package.json" and _may_read_sources(await load(attempt.ports.objects, entry.digest, path)):
            return True
    return False


def _may_read_sources(package: bytes) -> bool:
    try:
        scripts = msgspec.json.decode(package, type=_Scripts).scripts
    except msgspec.DecodeError:
        return True
    lifecycle = [scripts[name] for name in _LIFECYCLE if name in scripts]
    return bool(_LOCAL_PACKAGE.search(package)) or not all(map(_GIT_HOOKS.fullmatch, lifecycle))


def _digest(values: list[Any]) -> str:
    return digest_of(msgspec.json.encode(values))
