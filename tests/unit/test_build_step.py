"""The logic of the sandbox, sync and build steps over a scripted sandbox; real builds are proven end to end."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from services.steps.build.handler import handle as build
from services.steps.sandbox.handler import handle as sandbox
from services.steps.sync.handler import handle as sync
from services.steps.validate.handler import handle as validate
from shared.blobs import load_manifest, store, store_manifest
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan, Command, Work
from shared.contracts.outcomes import Back, Done, Outcome
from shared.ports import (
    ANY_HOST,
    DeploymentRecord,
    Entry,
    Exit,
    Fence,
    Manifest,
    Objects,
    OnOutput,
    OutputFile,
    Ports,
    Run,
)
from shared.settings import Settings

PLAN = BuildPlan(manager="npm", lock="package-lock.json", build="npm run build")
SOURCE = {"package.json": '{"scripts": {"build": "vite build"}}', "package-lock.json": "{}", "src/main.js": "1"}
SITE = {"dist/index.html": "<p>", "dist/assets/main.js": "1"}
UNFIT_LOCK = "npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync."


class MemoryObjects:
    """A bucket in memory that counts what is put."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.puts = 0

    async def get(self, key: str) -> bytes | None:
        return self.data.get(key)

    async def put(self, key: str, data: bytes) -> None:
        self.puts += 1
        self.data[key] = data

    async def exists(self, key: str) -> bool:
        return key in self.data

    async def delete(self, key: str) -> None:
        self.data.pop(key, None)

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        for key in sorted(self.data):
            if key.startswith(prefix):
                yield key


@dataclass
class ScriptedSandboxes:
    """One sandbox whose commands end as scripted; `built` is what is there after a build that ends well."""

    built: dict[str, str] = field(default_factory=lambda: dict(SITE))
    script: dict[str, tuple[int, str]] = field(default_factory=dict)
    there: bool = True
    tools: str = "node 24"
    runs: list[Run] = field(default_factory=list)
    resets: int = 0
    layers: set[str] = field(default_factory=set)
    written: Manifest | None = None

    async def create(self, name: str, organization_id: str) -> None:
        self.there = True

    async def exists(self, name: str) -> bool:
        return self.there

    async def write(self, name: str, fence: Fence, manifest: Manifest, objects: Objects) -> None:
        self._check()
        self.written = manifest

    async def reset(self, name: str, fence: Fence) -> None:
        self._check()
        self.resets += 1

    async def restore_layer(self, name: str, fence: Fence, key: str) -> bool:
        return key in self.layers

    async def keep_layer(self, name: str, fence: Fence, key: str) -> None:
        self.layers.add(key)

    async def run(self, name: str, fence: Fence, run: Run, on_output: OnOutput) -> Exit:
        self._check()
        self.runs.append(run)
        code, output = self.script.get(run.shell, (0, "fine"))
        on_output("stdout", output)
        return Exit(code, used_network="fetched" in output)

    async def collect(self, name: str, fence: Fence, folder: str) -> AsyncIterator[OutputFile]:
        for path, text in self.built.items():
            if path.startswith(f"{folder}/"):
                yield OutputFile(path.removeprefix(f"{folder}/"), 0o644, text.encode())

    async def folders(self, name: str, fence: Fence, candidates: Iterable[str]) -> list[str]:
        return [folder for folder in candidates if any(path.startswith(f"{folder}/") for path in self.built)]

    async def toolchain(self) -> str:
        return self.tools

    async def destroy(self, name: str) -> None:
        self.there = False

    async def names(self) -> list[str]:
        return ["deploy_1"] if self.there else []

    @property
    def shells(self) -> list[str]:
        return [run.shell for run in self.runs]

    def _check(self) -> None:
        if not self.there:
            raise ZepidError("SANDBOX_CONNECT_FAILED", "the sandbox is gone")


class Records:
    """The records of one deployment."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self.record: DeploymentRecord | None = DeploymentRecord(
            id="deploy_1",
            project_id="project_1",
            organization_id="org_1",
            site="site",
            target="local",
            source="",
            settings={},
            project_active=True,
            outcome=None,
        )

    async def deployment(self, deployment_id: str) -> DeploymentRecord | None:
        return self.record

    async def build_variables(self, deployment_id: str) -> dict[str, str]:
        return self.variables

    async def insert_release(self, deployment_id: str, artifact: str, manifest: Manifest) -> str:
        raise NotImplementedError

    def keeping_blobs(self) -> AbstractAsyncContextManager[object]:
        raise NotImplementedError

    async def point_to(self, deployment_id: str, release: str) -> str:
        raise NotImplementedError

    async def free(self, deployment_id: str) -> None:
        raise NotImplementedError


class Lines:
    """A step log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def write(self, stream: str, message: str, level: str = "info") -> None:
        self.lines.append((stream, message))

    def __contains__(self, words: str) -> bool:
        return any(words in message for _, message in self.lines)


class Bench:
    """Everything a step touches, in memory."""

    def __init__(self) -> None:
        self.objects = MemoryObjects()
        self.sandboxes = ScriptedSandboxes()
        self.records = Records()
        self.log = Lines()
        self.ports = Ports(
            records=self.records,
            objects=self.objects,
            sandboxes=self.sandboxes,
            publishers={},
            log=self.log,
            settings=Settings(),
            fence=Fence(0, 0, 0, 1),
            attempt=1,
        )

    async def command(self, step: str, files: dict[str, str], plan: BuildPlan | None = PLAN, epoch: int = 0) -> Command:
        entries = {
            path: Entry(await store(self.objects, text.encode()), len(text.encode())) for path, text in files.items()
        }
        source = await store_manifest(self.objects, Manifest(entries))
        return Command(
            deployment_id="deploy_1",
            project_id="project_1",
            organization_id="org_1",
            step=step,
            deadline=time.time() + 600,
            work=Work(source=source, plan=plan, sandbox="deploy_1"),
            epoch=epoch,
        )

    async def build(
        self, files: dict[str, str] | None = None, plan: BuildPlan | None = PLAN, epoch: int = 0
    ) -> Outcome:
        return await build(await self.command("build", files or SOURCE, plan, epoch), self.ports)

    async def artifact(self, outcome: Outcome) -> set[str]:
        assert isinstance(outcome, Done)
        return set((await load_manifest(self.objects, outcome.work.artifact)).files)

    async def refusal(self, plan: BuildPlan = PLAN, files: dict[str, str] | None = None) -> ZepidError:
        with pytest.raises(ZepidError) as caught:
            await self.build(files, plan)
        return caught.value


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_build_installs_builds_and_stores_its_output(bench: Bench) -> None:
    outcome = await bench.build()
    assert await bench.artifact(outcome) == {"index.html", "assets/main.js"}
    install, run = bench.sandboxes.runs
    assert install.shell.startswith("npm ci ")
    assert install.hosts == ANY_HOST
    assert "NODE_ENV" not in install.env
    assert run.shell == "npm run build"
    assert not run.hosts
    assert run.env["NODE_ENV"] == "production"
    assert bench.sandboxes.resets == 1
    assert "stored 2 files" in bench.log


async def test_output_that_says_error_at_exit_0_is_a_success(bench: Bench) -> None:
    bench.sandboxes.script["npm run build"] = (0, "Error: src/App.tsx(1,1): error TS2322: no")
    assert isinstance(await bench.build(), Done)


async def test_a_failed_build_is_explained(bench: Bench) -> None:
    bench.sandboxes.script["npm run build"] = (2, "\x1b[31msrc/App.tsx(1,1): error TS2322: no\x1b[0m")
    error = await bench.refusal()
    assert (error.code.name, error.file, error.line) == ("BUILD_TYPE_ERROR", "src/App.tsx", 1)
    assert ("stdout", "src/App.tsx(1,1): error TS2322: no") in bench.log.lines


async def test_equal_inputs_are_not_built_again(bench: Bench) -> None:
    first = await bench.build()
    assert await bench.build() == Done(first.work, "unchanged: an earlier build is released again")  # type: ignore[union-attr]
    assert len(bench.sandboxes.runs) == 2
    assert "nothing changed since an earlier build" in bench.log


async def test_a_deployment_with_debug_is_built_again_and_its_tools_say_more(bench: Bench) -> None:
    await bench.build()
    command = await bench.command("build", SOURCE)
    await build(replace(command, work=replace(command.work, debug=True)), bench.ports)
    assert bench.sandboxes.shells.count("npm run build") == 2
    assert [run.env.get("npm_config_loglevel") for run in bench.sandboxes.runs[-1:]] == ["verbose"]


@pytest.mark.parametrize(
    "change",
    [
        lambda bench: setattr(bench.sandboxes, "tools", "node 26"),
        lambda bench: bench.records.variables.update(API="https://example.org"),
        lambda bench: [bench.objects.data.pop(key) for key in list(bench.objects.data) if key.startswith("builds/")],
    ],
    ids=["tools", "variables", "forgotten"],
)
async def test_a_changed_input_is_built(bench: Bench, change: Callable[[Bench], object]) -> None:
    await bench.build()
    change(bench)
    await bench.build()
    assert bench.sandboxes.shells.count("npm run build") == 2


async def test_after_going_back_a_build_is_done_for_real(bench: Bench) -> None:
    await bench.build()
    await bench.build(epoch=1)
    assert bench.sandboxes.shells.count("npm run build") == 2


async def test_a_build_that_used_the_network_is_done_again(bench: Bench) -> None:
    bench.ports = replace(bench.ports, settings=Settings(build_allowed_hosts="cms.example.com, *.example.org"))
    await bench.build()
    assert bench.sandboxes.runs[-1].hosts == ("cms.example.com", "*.example.org")
    await bench.build()
    assert bench.sandboxes.shells.count(PLAN.build) == 1
    bench.sandboxes.script = {PLAN.build: (0, "fetched posts")}
    for times in (2, 3):
        await bench.build({**SOURCE, "posts.js": "2"})
        assert bench.sandboxes.shells.count(PLAN.build) == times


async def test_an_earlier_build_whose_manifest_is_gone_is_not_released(bench: Bench) -> None:
    first = await bench.build()
    assert isinstance(first, Done)
    del bench.objects.data[f"blobs/{first.work.artifact}"]
    assert await bench.artifact(await bench.build()) == {"index.html", "assets/main.js"}


async def test_dependencies_are_restored_while_the_lock_file_is_unchanged(bench: Bench) -> None:
    await bench.build()
    await bench.build(SOURCE | {"src/main.js": "2"})
    assert [shell.split()[1] for shell in bench.sandboxes.shells] == ["ci", "run", "run"]
    assert "dependencies restored" in bench.log
    await bench.build(SOURCE | {"package-lock.json": "{ }"})
    assert [shell.split()[1] for shell in bench.sandboxes.shells[3:]] == ["ci", "run"]


@pytest.mark.parametrize(
    ("package", "installs"),
    [
        ({"scripts": {"build": "x", "postinstall": "node make.js"}}, 2),
        ({"scripts": {"build": "x"}, "dependencies": {"ui": "file:./ui"}}, 2),
        ({"scripts": {"build": "x", "prepare": "husky || true"}}, 1),
    ],
)
async def test_installs_that_may_read_sources_are_repeated_when_sources_change(
    bench: Bench, package: object, installs: int
) -> None:
    source = SOURCE | {"package.json": json.dumps(package)}
    await bench.build(source)
    await bench.build(source | {"src/main.js": "2"})
    assert sum(shell.startswith("npm ci") for shell in bench.sandboxes.shells) == installs


async def test_a_lock_file_that_does_not_fit_falls_back_to_a_plain_install(bench: Bench) -> None:
    locked = "npm ci --prefer-offline --no-audit --no-fund --progress=false"
    bench.sandboxes.script[locked] = (1, UNFIT_LOCK)
    assert isinstance(await bench.build(), Done)
    assert [shell.split()[1] for shell in bench.sandboxes.shells] == ["ci", "install", "run"]
    assert "does not fit package.json" in bench.log


async def test_an_install_command_of_the_projects_own_is_not_replaced(bench: Bench) -> None:
    bench.sandboxes.script["npm ci"] = (1, UNFIT_LOCK)
    plan = BuildPlan(manager="npm", lock="package-lock.json", install="npm ci", build="npm run build")
    assert (await bench.refusal(plan)).code.name == "BUILD_LOCKFILE_OUTDATED"


async def test_without_a_lock_file_no_layer_is_kept(bench: Bench) -> None:
    await bench.build(plan=BuildPlan(manager="pnpm", build="pnpm run build"))
    assert bench.sandboxes.shells == ["pnpm install --no-frozen-lockfile", "pnpm run build"]
    assert not bench.sandboxes.layers


async def test_an_away_registry_is_worth_a_retry(bench: Bench) -> None:
    plan = BuildPlan(manager="npm", build="npm run build")
    shell = "npm install --no-audit --no-fund --progress=false"
    bench.sandboxes.script[shell] = (1, "npm error code EAI_AGAIN")
    assert (await bench.refusal(plan)).code.retryable


async def test_a_workspace_installs_at_its_lock_file_and_builds_in_its_root(bench: Bench) -> None:
    bench.sandboxes.built = {"apps/web/dist/index.html": ""}
    plan = BuildPlan(
        manager="yarn", manager_version="4.18.1", root="apps/web", lock="yarn.lock", build="yarn run build"
    )
    assert await bench.artifact(await bench.build(plan=plan)) == {"index.html"}
    install, run = bench.sandboxes.runs
    assert (install.shell, install.cwd, run.cwd) == ("yarn install --immutable", ".", "apps/web")
    assert run.tools == ("yarn", "4.18.1")


async def test_installs_see_only_the_variables_that_registry_settings_name(bench: Bench) -> None:
    bench.records.variables = {"NPM_TOKEN": "t", "SECRET": "s", "NODE_ENV": "test"}
    await bench.build(SOURCE | {".npmrc": "//registry.example.org/:_authToken=${NPM_TOKEN}\n"})
    install, run = bench.sandboxes.runs
    assert install.env["NPM_TOKEN"] == "t"
    assert "SECRET" not in install.env
    assert (run.env["SECRET"], run.env["NODE_ENV"]) == ("s", "test")
    assert "t" not in [message for _, message in bench.log.lines]


@pytest.mark.parametrize("step", [sync, build])
async def test_a_lost_sandbox_goes_back_to_the_sandbox_step(bench: Bench, step: Callable[..., object]) -> None:
    bench.sandboxes.there = False
    name = "sync" if step is sync else "build"
    outcome = await step(await bench.command(name, SOURCE), bench.ports)  # type: ignore[misc]
    assert isinstance(outcome, Back)
    assert (outcome.step, outcome.failure.step) == ("sandbox", name)


@pytest.mark.parametrize(
    ("built", "artifact"),
    [
        ({"build/index.html": "", "dist/lib.js": ""}, {"index.html"}),
        ({"dist/app/browser/index.html": "", "dist/app/licenses.txt": ""}, {"index.html"}),
        ({"dist/client/index.html": "", "dist/client/a/b.js": "", "dist/server/s.js": ""}, {"index.html", "a/b.js"}),
        ({".output/public/index.html": "", ".output/server/s.mjs": ""}, {"index.html"}),
        ({"public/index.html": "made", "public/robots.txt": ""}, {"index.html", "robots.txt"}),
    ],
    ids=["page first", "angular", "client", "nuxt", "public"],
)
async def test_the_output_is_the_folder_with_the_page(bench: Bench, built: dict[str, str], artifact: set[str]) -> None:
    bench.sandboxes.built = built
    assert await bench.artifact(await bench.build()) == artifact


async def test_the_sources_own_public_folder_is_no_output(bench: Bench) -> None:
    bench.sandboxes.built = {"public/index.html": "own"}
    error = await bench.refusal(files=SOURCE | {"public/index.html": "own"})
    assert error.code.name == "BUILD_NO_OUTPUT"
    assert "npm run build" in error.message


async def test_a_server_build_of_next_is_told_how_to_export(bench: Bench) -> None:
    bench.sandboxes.built = {".next/server/x.js": ""}
    assert "output: 'export'" in (await bench.refusal()).message


async def test_a_named_output_is_taken_as_it_is_and_missed_when_absent(bench: Bench) -> None:
    bench.sandboxes.built = {"web/a.txt": "", "dist/index.html": ""}
    plan = BuildPlan(manager="none", build="sh make.sh", output="web")
    assert await bench.artifact(await bench.build(plan=plan)) == {"a.txt"}
    plan = BuildPlan(manager="none", build="sh make.sh", output="site")
    error = await bench.refusal(plan)
    assert (error.code.name, "'site'" in error.message) == ("BUILD_NO_OUTPUT", True)
    assert all(run.tools is None for run in bench.sandboxes.runs)


REDIRECT = ".wrangler/deploy/config.json"


async def test_a_build_may_say_itself_what_is_deployed(bench: Bench) -> None:
    rules = '{"assets": {"directory": "../client", "not_found_handling": "404-page"}}'
    bench.sandboxes.built = {
        REDIRECT: '{"configPath": "../../build/server/wrangler.json", "auxiliaryWorkers": [{}]}',
        "build/server/wrangler.json": rules,
        "build/client/page.html": "<p>",
        "dist/index.html": "older",
    }
    outcome = await bench.build()
    assert isinstance(outcome, Done)
    made = await load_manifest(bench.objects, outcome.work.artifact)
    assert set(made.files) == {"page.html"}
    assert made.hosting
    assert made.hosting.assets
    assert made.hosting.assets.not_found_handling == "404-page"
    assert "deployed as build/server/wrangler.json says" in bench.log
    assert "1 further Workers of the build are not deployed" in bench.log


@pytest.mark.parametrize(
    ("pointer", "config", "said"),
    [
        ("{", "{}", "cannot be read"),
        ('{"configPath": "../../../../etc/wrangler.json"}', "{}", "`configPath` in .wrangler/deploy/config.json"),
        ('{"configPath": "/etc/wrangler.json"}', "{}", "it is absolute"),
        ('{"configPath": "../../dist/other.json"}', "{}", "which the build did not leave"),
        ('{"configPath": "../../dist/wrangler.json"}', "{", "dist/wrangler.json cannot be read"),
        ('{"configPath": "../../dist/wrangler.json"}', '{"main": "../../out.js"}', "`main` in dist/wrangler.json"),
        ('{"configPath": "../../dist/wrangler.json"}', '{"assets": {"directory": "../.."}}', "`assets.directory` in"),
    ],
)
async def test_what_a_build_says_must_be_usable(bench: Bench, pointer: str, config: str, said: str) -> None:
    bench.sandboxes.built = SITE | {REDIRECT: pointer, "dist/wrangler.json": config}
    error = await bench.refusal()
    assert error.code.name == "BUILD_PLAN_INVALID"
    assert said in error.message
    assert error.file


async def test_a_static_site_is_released_without_a_command_or_a_copy(bench: Bench) -> None:
    command = await bench.command(
        "build",
        {"index.html": "<p>", ".npmrc": "", ".github/x.yml": "", ".well-known/a": "", "css/a.css": ""},
        BuildPlan(manager="none", output="."),
    )
    bench.objects.puts = 0
    outcome = await build(command, bench.ports)
    assert await bench.artifact(outcome) == {"index.html", ".well-known/a", "css/a.css"}
    assert bench.objects.puts == 1
    assert not bench.sandboxes.runs
    assert "2 hidden files are not released" in bench.log


async def test_an_output_beyond_the_limits_of_a_release_is_refused(bench: Bench) -> None:
    bench.sandboxes.built = {f"dist/{number}.html": "" for number in range(20_001)}
    assert (await bench.refusal()).code.name == "BUILD_OUTPUT_INVALID"


async def test_the_sandbox_step_names_the_sandbox_and_sync_fills_it(bench: Bench) -> None:
    made = await sandbox(await bench.command("sandbox", SOURCE), bench.ports)
    assert isinstance(made, Done)
    assert made.work.sandbox == "deploy_1"
    await sync(await bench.command("sync", SOURCE), bench.ports)
    assert bench.sandboxes.written is not None
    assert set(bench.sandboxes.written.files) == set(SOURCE)
    assert "source synced: 3 files" in bench.log


async def test_validate_makes_the_plan_and_says_what_it_found(bench: Bench) -> None:
    outcome = await validate(await bench.command("validate", SOURCE, None), bench.ports)
    assert isinstance(outcome, Done)
    assert outcome.work.plan == PLAN
    assert "npm (package-lock.json), build `npm run build`" in bench.log


async def test_validate_refuses_a_project_that_is_gone(bench: Bench) -> None:
    bench.records.record = None
    with pytest.raises(ZepidError, match="is gone"):
        await validate(await bench.command("validate", SOURCE, None), bench.ports)


@pytest.mark.parametrize("damaged", [None, b"{}"])
async def test_a_source_that_is_missing_or_damaged_is_a_failure_of_storage(bench: Bench, damaged: bytes | None) -> None:
    command = await bench.command("build", SOURCE)
    key = f"blobs/{command.work.source}"
    del bench.objects.data[key]
    if damaged is not None:
        bench.objects.data[key] = damaged
    with pytest.raises(ZepidError) as caught:
        await build(command, bench.ports)
    assert caught.value.code.name == "STORAGE_READ_FAILED"
