"""What people are told when a build breaks, over recorded outputs of the real tools (broken_builds.txt)."""

import re
import time
from pathlib import Path

import pytest

from services.steps.build.attempt import plain
from services.steps.build.diagnosis import EXCERPT_LINES, Phase, diagnose
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan
from shared.ports import Exit

RECORDED = {
    match[1]: (match[2], int(match[3]), match[4].rstrip("\n").split("\n"))
    for match in re.finditer(
        r"^>>> (\S+) (\w+) (\d+)\n((?:(?!>>> ).*\n)*)",
        (Path(__file__).parent / "broken_builds.txt").read_text(),
        re.MULTILINE,
    )
}
MISSING, TYPE, SYNTAX = "BUILD_DEPENDENCY_MISSING", "BUILD_TYPE_ERROR", "BUILD_SYNTAX_ERROR"
NETWORK = "BUILD_NETWORK_REFUSED"
NOT_PUBLIC = "The host 10.255.255.1 has the address 10.255.255.1, which is not public"
FAILED, SCRIPT = "BUILD_COMMAND_FAILED", "BUILD_SCRIPT_MISSING"
INSTALL, LOCK, REGISTRY = "BUILD_INSTALL_FAILED", "BUILD_LOCKFILE_OUTDATED", "BUILD_REGISTRY_UNAVAILABLE"

EXPECTED: list[tuple[str, str, str | None, int | None, str]] = [
    ("astro_missing", MISSING, "src/pages/index.astro", None, "the import '../nope.astro' cannot be found"),
    ("astro_runtime", FAILED, None, None, "TypeError: Cannot read properties of undefined (reading 'y')"),
    ("astro_syntax", SYNTAX, "src/pages/index.astro", 2, 'Unexpected ";"'),
    ("bun_127", MISSING, None, None, "the command vite was not found: no installed package brings it"),
    ("bun_404", INSTALL, None, None, "the registry has no package zepid-nope-nope-nope"),
    ("bun_lock", LOCK, None, None, "the lock file does not fit package.json"),
    ("bun_net", REGISTRY, None, None, "the package registry did not answer `npm run build`"),
    ("bun_script", SCRIPT, None, None, "package.json has no script build"),
    ("bun_ver", INSTALL, None, None, "the registry has no version 99.0.0 of is-odd"),
    ("eleventy_include", FAILED, "e/a.njk", None, "Error: template not found: gone.njk"),
    ("eleventy_syntax", FAILED, "e/a.njk", None, "parseIf: expected elif, else, or endif, got end of file"),
    ("esbuild_missing", MISSING, "src/index.js", 1, "the package 'nope-pkg' is imported, but not installed by npm"),
    ("esbuild_syntax", SYNTAX, "src/index.js", 1, 'Unexpected ";"'),
    ("esm2", MISSING, "b.mjs", None, "the package 'nope-pkg' is imported, but not installed by npm"),
    ("heap", "BUILD_OUT_OF_MEMORY", None, None, "`npm run build` ran out of memory"),
    ("next_font", NETWORK, None, None, "the font Geist could not be fetched from Google Fonts"),
    ("next_missing", MISSING, "app/page.tsx", 1, "the package 'nope-pkg' is imported, but not installed by npm"),
    (
        "next_missing_webpack",
        MISSING,
        "app/page.tsx",
        None,
        "the package 'nope-pkg' is imported, but not installed by npm",
    ),
    ("next_syntax", SYNTAX, "app/page.tsx", 1, "Expression expected"),
    ("next_syntax_webpack", SYNTAX, "app/page.tsx", 1, "Expression expected"),
    ("next_type", TYPE, "app/page.tsx", 1, "Type 'string' is not assignable to type 'number'. (TS2322)"),
    ("node_fetch_offline", NETWORK, None, None, "the build could not reach api.example.com"),
    ("node_https_offline", NETWORK, None, None, "the build could not reach api.example.com"),
    ("npm_refused", NETWORK, None, None, f"10.255.255.1:443: {NOT_PUBLIC}"),
    ("pnpm_refused", NETWORK, None, None, f"10.255.255.1:443: {NOT_PUBLIC}"),
    ("yarn_refused", NETWORK, None, None, f"10.255.255.1:443: {NOT_PUBLIC}"),
    ("berry_refused", NETWORK, None, None, f"10.255.255.1:443: {NOT_PUBLIC}"),
    ("bun_refused", NETWORK, None, None, f"10.255.255.1:443: {NOT_PUBLIC}"),
    ("npm_proxy502", REGISTRY, None, None, "the package registry did not answer `npm run build`"),
    ("pnpm_proxy502", REGISTRY, None, None, "the package registry did not answer `npm run build`"),
    ("yarn_proxy502", REGISTRY, None, None, "the package registry did not answer `npm run build`"),
    ("berry_proxy502", REGISTRY, None, None, "the package registry did not answer `npm run build`"),
    ("bun_proxy502", REGISTRY, None, None, "the package registry did not answer `npm run build`"),
    ("nodesyntax", SYNTAX, "c.cjs", 1, "Unexpected token ';'"),
    ("nodethrow", FAILED, "c.cjs", 1, "Error: no API key"),
    ("npm_127", MISSING, None, None, "the command vite was not found: no installed package brings it"),
    ("npm_badlock", LOCK, None, None, "the lock file does not fit package.json"),
    ("npm_e404", INSTALL, None, None, "the registry has no package zepid-nope-nope-nope@1.0.0"),
    ("npm_enotfound", REGISTRY, None, None, "the package registry did not answer `npm run build`"),
    (
        "npm_eresolve",
        INSTALL,
        None,
        None,
        'the versions of the packages do not fit together: react-dom@19.0.0 wants react@"^19.0.0"',
    ),
    ("npm_etarget", INSTALL, None, None, "the registry has no version 99.0.0 of is-odd"),
    ("npm_integrity", INSTALL, None, None, "a package is not the one that the lock file names: its checksum differs"),
    ("npm_lifecycle", INSTALL, None, None, "the install script `echo broken >&2; exit 3` failed in node_modules/dep"),
    ("npm_lifecycle_root", INSTALL, None, None, "the install script `echo broken >&2; exit 3` failed in ."),
    ("npm_lock", LOCK, None, None, "the lock file does not fit package.json"),
    ("npm_missing_script", SCRIPT, None, None, "package.json has no script build"),
    ("pnpm_127", MISSING, None, None, "the command vite was not found: no installed package brings it"),
    ("pnpm_404", INSTALL, None, None, "the registry has no package zepid-nope-nope-nope"),
    ("pnpm_builds", INSTALL, None, None, "Ignored build scripts: esbuild@0.25.0 (ERR_PNPM_IGNORED_BUILDS)"),
    ("pnpm_lock", LOCK, None, None, "the lock file does not fit package.json"),
    ("pnpm_net", REGISTRY, None, None, "the package registry did not answer `npm run build`"),
    ("pnpm_ver", INSTALL, None, None, "the registry has no version 99.0.0 of is-odd"),
    ("svelte_check", TYPE, "src/App.svelte", 2, "Type 'string' is not assignable to type 'number'. (ts)"),
    ("svelte_missing", MISSING, "src/App.svelte", 4, "the import './lib/Foo.svelte' cannot be found"),
    ("svelte_syntax", SYNTAX, "src/App.svelte", 4, "Block was left open"),
    ("tsc_module", MISSING, "src/App.tsx", 1, "the package 'left-pad-nope' is imported, but not installed by npm"),
    ("tsc_pretty", TYPE, "src/App.tsx", 2, "Type 'string' is not assignable to type 'number'. (TS2322)"),
    ("tsc_syntax", SYNTAX, "src/App.tsx", 2, "JSX element 'p' has no corresponding closing tag."),
    ("tsc_type", TYPE, "src/App.tsx", 2, "Type 'string' is not assignable to type 'number'. (TS2322)"),
    ("vite6_package", MISSING, "v6/m.js", None, "the package 'nope-pkg' is imported, but not installed by npm"),
    ("vite6_relative", MISSING, "v6/m.js", None, "the import './nope' cannot be found"),
    ("vite6_syntax", SYNTAX, "v6/m.js", 1, "Expression expected"),
    ("vite6_ts_syntax", SYNTAX, "v6/m.ts", 1, 'Unexpected "="'),
    (
        "vite_config",
        MISSING,
        "vite.config.ts",
        1,
        "the package 'vite-plugin-nope' is imported, but not installed by npm",
    ),
    ("vite_css", SYNTAX, "src/bad.css", 1, "Unclosed block"),
    ("vite_css2", SYNTAX, None, None, "[lightningcss minify] Invalid empty selector"),
    ("vite_entry", MISSING, "index.html", None, "the import '/src/mian.tsx' cannot be found"),
    ("vite_export", FAILED, "src/App.tsx", 1, '"nope" is not exported by "src/other.ts"'),
    ("vite_package", MISSING, "src/App.tsx", None, "the package 'left-pad-nope' is imported, but not installed by npm"),
    ("vite_relative", MISSING, "src/App.tsx", 1, "the import './nope' cannot be found"),
    ("vite_syntax", SYNTAX, "src/App.tsx", 2, "Unexpected token. Did you mean `{'}'}` or `&rbrace;`?"),
    ("vue_missing", MISSING, "src/App.vue", 3, "the import './Foo.vue' cannot be found"),
    ("vue_syntax", SYNTAX, "src/App.vue", 4, "Element is missing end tag."),
    ("vue_type", TYPE, "src/App.vue", 2, "Type 'string' is not assignable to type 'number'. (TS2322)"),
    ("webpack_missing", MISSING, "src/index.mjs", 1, "the package 'nope-pkg' is imported, but not installed by npm"),
    ("webpack_syntax", SYNTAX, "src/index.js", 1, "Unexpected token"),
    ("yarn1_127", MISSING, None, None, "the command vite was not found: no installed package brings it"),
    ("yarn1_404", INSTALL, None, None, "the registry has no package zepid-nope-nope-nope"),
    ("yarn1_lock", LOCK, None, None, "the lock file does not fit package.json"),
    ("yarn1_script", SCRIPT, None, None, "package.json has no script build"),
    ("yarn1_ver", INSTALL, None, None, "the registry has no version 99.0.0 of is-odd"),
    ("yarnb_127", MISSING, None, None, "the command vite was not found: no installed package brings it"),
    ("yarnb_lock", LOCK, None, None, "the lock file does not fit package.json"),
    ("yarnb_script", SCRIPT, None, None, "package.json has no script build"),
]


def explain(name: str, plan: BuildPlan | None = None) -> ZepidError:
    phase, code, lines = RECORDED[name]
    kind: Phase = "install" if phase == "install" else "build"
    return diagnose(
        kind, "npm run build", Exit(code), [plain(line) for line in lines], plan or BuildPlan(manager="npm")
    )


@pytest.mark.parametrize(("name", "code", "file", "line", "words"), EXPECTED, ids=[row[0] for row in EXPECTED])
def test_a_recorded_failure_is_told_by_code_place_and_words(
    name: str, code: str, file: str | None, line: int | None, words: str
) -> None:
    error = explain(name)
    assert (error.code.name, error.file, error.line) == (code, file, line)
    assert words in error.message
    assert error.code.failure_class.value == ("transient" if code == REGISTRY else "user")


def test_every_recorded_output_has_an_expectation() -> None:
    assert sorted(RECORDED) == sorted(row[0] for row in EXPECTED)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_an_excerpt_is_short_plain_and_free_of_stack_frames_and_sandbox_paths(name: str) -> None:
    excerpt = explain(name).excerpt
    assert 0 < len(excerpt.split("\n")) <= EXCERPT_LINES
    assert "\x1b" not in excerpt
    assert "/project/" not in excerpt
    assert not re.search(r"^\s+at ", excerpt, re.MULTILINE)


def test_places_below_a_root_directory_are_relative_to_the_source() -> None:
    plan = BuildPlan(manager="pnpm", root="apps/web")
    lines = ["src/App.tsx(2,9): error TS2322: Type 'string' is not assignable to type 'number'."]
    assert diagnose("build", "x", Exit(1), lines, plan).file == "apps/web/src/App.tsx"
    lines = ["[plugin vite:vue] /project/apps/web/src/App.vue:4:14", "SyntaxError: Element is missing end tag."]
    assert diagnose("build", "x", Exit(1), lines, plan).file == "apps/web/src/App.vue"
    lines = ["[plugin vite:vue] /project/packages/ui/Card.vue:4:14", "SyntaxError: Element is missing end tag."]
    assert diagnose("build", "x", Exit(1), lines, plan).file == "packages/ui/Card.vue"


def test_a_command_that_was_not_found_explains_nothing_when_the_build_failed_otherwise() -> None:
    lines = ["sh: 1: git: not found", "Error: the API key is missing"]
    error = diagnose("build", "npm run build", Exit(1), lines, BuildPlan(manager="npm"))
    assert (error.code.name, error.message) == (FAILED, "Error: the API key is missing")


def test_an_unknown_failure_keeps_the_last_lines_and_the_exit_code() -> None:
    lines = [f"line {number}" for number in range(100)]
    error = diagnose("build", "make site", Exit(3), lines, BuildPlan(manager="npm"))
    assert error.code.name == FAILED
    assert error.message == "`make site` ended with exit code 3: line 99"
    assert error.excerpt.split("\n")[0] == "line 70"


def test_a_silent_failure_is_still_explained() -> None:
    error = diagnose("install", "npm ci", Exit(1), [], BuildPlan(manager="npm"))
    assert (error.code.name, error.message) == (INSTALL, "`npm ci` ended with exit code 1, without a word")


@pytest.mark.parametrize(
    ("exit", "line", "code"),
    [
        (Exit(124, timed_out=True), "working", "BUILD_TIMEOUT"),
        (Exit(137, out_of_memory=True), "working", "BUILD_OUT_OF_MEMORY"),
        (Exit(1), "Error: ENOSPC: no space left on device, write", "BUILD_DISK_FULL"),
    ],
)
def test_limits_have_their_own_codes(exit: Exit, line: str, code: str) -> None:
    error = diagnose("build", "npm run build", exit, [line], BuildPlan(manager="npm"), 400.0)
    assert error.code.name == code


def test_hostile_lines_cost_little_time() -> None:
    lines = ["A" * 2000, "/" * 2000, "a(" * 1000, "x:1" * 600, " " * 2000] * 80
    began = time.perf_counter()
    assert diagnose("build", "x", Exit(1), lines, BuildPlan(manager="npm")).code.name == FAILED
    assert time.perf_counter() - began < 10
