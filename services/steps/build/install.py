"""Dependencies: restored when nothing that decides them has changed, installed otherwise."""

import posixpath
import re

from services.steps.build.attempt import Attempt
from services.steps.build.inputs import layer_key
from shared.blobs import load
from shared.contracts.messages import BuildPlan

QUIET = {"CI": "1", "NO_COLOR": "1"}
PNPM = {"pnpm_config_verify_deps_before_run": "false", "pnpm_config_strict_dep_builds": "false"}
"""Newer pnpm would install again before each script, and refuse packages with unapproved scripts."""

_LOCKED = {
    "npm": "npm ci --prefer-offline --no-audit --no-fund --progress=false",
    "pnpm": "pnpm install --frozen-lockfile --prefer-offline",
    "yarn": "yarn install --frozen-lockfile --prefer-offline --non-interactive --no-progress",
    "berry": "yarn install --immutable",
    "bun": "bun install --frozen-lockfile",
    "none": "",
}
_UNLOCKED = {
    "npm": "npm install --no-audit --no-fund --progress=false",
    "pnpm": "pnpm install --no-frozen-lockfile",
    "yarn": "yarn install --non-interactive --no-progress",
    "berry": "yarn install --no-immutable",
    "bun": "bun install",
    "none": "",
}
_NPM_LOCK_UNFIT = re.compile(r"`npm ci` (command )?can only install")
_REGISTRY_SETTINGS = (".npmrc", ".yarnrc", ".yarnrc.yml", "bunfig.toml")
_REFERENCE = re.compile(rb"\$\{?(\w+)")


def verbosity(attempt: Attempt) -> dict[str, str]:
    """Return what makes the package managers say more, where the deployment asks for it."""
    return {"npm_config_loglevel": "verbose"} if attempt.command.work.debug else {}


async def provide_dependencies(attempt: Attempt) -> None:
    """Put the project's dependencies in place.

    Raises:
        ZepidError: BUILD_INSTALL_FAILED or a finer code; what the sandbox raises.
    """
    plan, sandboxes, fence = attempt.plan, attempt.ports.sandboxes, attempt.ports.fence
    shell = install_command(plan)
    if not shell:
        return
    key = await layer_key(attempt, shell) if plan.lock else ""
    if key and await sandboxes.restore_layer(attempt.sandbox, fence, key):
        attempt.say("dependencies restored: nothing that decides them has changed")
        return
    await _install(attempt, shell)
    if key:
        await sandboxes.keep_layer(attempt.sandbox, fence, key)


def install_command(plan: BuildPlan) -> str:
    """Return the command that installs the plan's dependencies, "" when there is nothing to install."""
    return plan.install or (_LOCKED if plan.lock else _UNLOCKED)[_flavour(plan)]


def _flavour(plan: BuildPlan) -> str:
    newer_yarn = plan.manager == "yarn" and plan.manager_version and not plan.manager_version.startswith("1.")
    return "berry" if newer_yarn else plan.manager


async def _install(attempt: Attempt, shell: str) -> None:
    plan = attempt.plan
    custom_or_unlocked = plan.install or not plan.lock
    cwd = plan.root if custom_or_unlocked else posixpath.dirname(plan.lock) or "."
    env = {**QUIET, **PNPM, **verbosity(attempt), **await _registry_variables(attempt)}
    finished = await attempt.run("install", shell, cwd, env)
    if finished.failed and shell == _LOCKED["npm"] and _NPM_LOCK_UNFIT.search("\n".join(finished.lines)):
        attempt.say(f"{plan.lock} does not fit package.json: installing without it; commit a new lock file", "warn")
        finished = await attempt.run("install", _UNLOCKED["npm"], cwd, env)
    if finished.failed:
        raise attempt.error(finished)
    attempt.say(f"dependencies installed in {finished.seconds:.1f} s")


async def _registry_variables(attempt: Attempt) -> dict[str, str]:
    """Return those build variables that the registry settings name (`${NPM_TOKEN}`).

    Installs run other people's scripts with a network, so they see no other variable.
    """
    named: set[str] = set()
    for path, entry in attempt.source.files.items():
        if posixpath.basename(path) in _REGISTRY_SETTINGS:
            text = await load(attempt.ports.objects, entry.digest, path)
            named.update(name.decode() for name in _REFERENCE.findall(text))
    return {name: value for name, value in attempt.variables.items() if name in named}
