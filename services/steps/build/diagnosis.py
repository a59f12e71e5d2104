"""Why a command failed: from what it printed to a precise code, place and excerpt. Pure."""

import posixpath
import re
from collections.abc import Sequence
from typing import Literal

from services.steps.build.rules import ANY_PHASE, BUILD, COMMAND_NOT_FOUND, INSTALL, Rule
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan
from shared.ports import Exit

Phase = Literal["install", "build"]

PROJECT = "/project"
"""Where sandboxes have the source."""
EXCERPT_LINES = 30
EXCERPT_COLUMNS = 240
NOT_FOUND_EXIT = 127

_NOISE = re.compile(
    r"^\s+at |^\s*node:internal|^npm (error|ERR!)( A complete log| For a full report|\s*$)|_logs/|\[Getter/Setter\]|^}$"
)
_USAGE = re.compile(r"^npm (error|ERR!) (Clean install a project|Usage:)")
_VITE_TEMPORARY = re.compile(r"node_modules/\.vite-temp/(.+?)\.timestamp-[\w-]+\.mjs")


def diagnose(
    phase: Phase, shell: str, exit: Exit, lines: Sequence[str], plan: BuildPlan, seconds: float = 0.0
) -> ZepidError:
    """Explain a command that failed.

    Args:
        phase: what the command was for.
        shell: the command line.
        exit: how it ended; a command that ended well has no diagnosis.
        lines: the last lines it printed, plain text.
        plan: how the project is built.
        seconds: how long it ran.

    Returns:
        The error, with file and line relative to the source where the tool named them.
    """
    lines = _relative(lines, plan.root)
    if exit.timed_out:
        return ZepidError("BUILD_TIMEOUT", f"`{shell}` had not ended after {seconds:.0f} s", excerpt=_excerpt(lines))
    if exit.out_of_memory:
        return ZepidError("BUILD_OUT_OF_MEMORY", f"`{shell}` ran out of memory", excerpt=_excerpt(lines))
    text = "\n".join(lines)
    for rule in _rules(phase, exit):
        if match := rule.pattern.search(text):
            return _explained(rule, match, shell, lines, plan)
    return _unexplained(phase, shell, exit, lines)


def last_words(lines: Sequence[str], plan: BuildPlan) -> str:
    """Return the excerpt of a command whose exit code was fine, but not what it left."""
    return _excerpt(_relative(lines, plan.root))


def _rules(phase: Phase, exit: Exit) -> tuple[Rule, ...]:
    """Return the rules in order; that a command was not found is often harmless unless the exit code says so."""
    rules = (*ANY_PHASE, *(INSTALL if phase == "install" else BUILD))
    return (*COMMAND_NOT_FOUND, *rules) if exit.code == NOT_FOUND_EXIT else (*rules, *COMMAND_NOT_FOUND)


def _explained(rule: Rule, match: re.Match[str], shell: str, lines: Sequence[str], plan: BuildPlan) -> ZepidError:
    groups = {name: value or "" for name, value in match.groupdict().items()}
    file = _source_file(groups.get("file", ""), plan.root)
    line = int(groups["line"]) if file and groups.get("line") else None
    said = rule.message.format(shell=f"`{shell}`", **groups) if rule.message else _missing_import(groups["name"], plan)
    place = ":".join(str(part) for part in (file, line) if part)
    first = match.string.count("\n", 0, match.start())
    return ZepidError(
        rule.code,
        f"{place}: {said}" if place else said,
        excerpt=_excerpt(lines[first:], from_start=True),
        file=file or None,
        line=line,
    )


def _unexplained(phase: Phase, shell: str, exit: Exit, lines: Sequence[str]) -> ZepidError:
    code = "BUILD_INSTALL_FAILED" if phase == "install" else "BUILD_COMMAND_FAILED"
    telling = [line.strip() for line in lines if line.strip() and not _NOISE.search(line)]
    last = f": {telling[-1][:EXCERPT_COLUMNS]}" if telling else ", without a word"
    return ZepidError(code, f"`{shell}` ended with exit code {exit.code}{last}", excerpt=_excerpt(lines))


def _missing_import(name: str, plan: BuildPlan) -> str:
    if name.startswith((".", "/", "@/", "~/", "#", "$")):
        return f"the import {name!r} cannot be found"
    parts = name.split("/")
    package = "/".join(parts[: 2 if name.startswith("@") else 1])
    return f"the package {package!r} is imported, but not installed by {plan.manager}"


def _relative(lines: Sequence[str], root: str) -> list[str]:
    """Return the lines with the sandbox's absolute paths made relative to the folder of the build."""
    here = posixpath.normpath(posixpath.join(PROJECT, root))
    top = "" if root == "." else posixpath.relpath(".", root) + "/"
    text = "\n".join(lines)
    text = re.sub(rf"(file://)?{re.escape(here)}/", "", text)
    text = re.sub(rf"(file://)?{PROJECT}/", top, text)
    return re.sub(rf"(?<!\S){PROJECT}(?!\S)", top.rstrip("/") or ".", text).split("\n")


def _source_file(file: str, root: str) -> str:
    """Return a file as a path of the source; "" when it is none of the project's own."""
    if match := _VITE_TEMPORARY.search(file):
        file = match[1]
    file = file.partition("?")[0].strip("\"'()")
    path = posixpath.normpath(posixpath.join(root, file)) if file else ""
    own = path and not path.startswith(("/", "..", "node:", "[")) and "node_modules/" not in path
    return path if own else ""


def _excerpt(lines: Sequence[str], from_start: bool = False) -> str:
    """Return the telling lines: the first of what a rule has found, else the last."""
    telling: list[str] = []
    for line in lines:
        if _USAGE.match(line):
            break
        if not _NOISE.search(line) and (line.strip() or (telling and telling[-1])):
            telling.append(line.rstrip()[:EXCERPT_COLUMNS])
    kept = telling[:EXCERPT_LINES] if from_start else telling[-EXCERPT_LINES:]
    return "\n".join(kept).rstrip()
