"""What every sandbox provider must do, and what `local` must make impossible."""

import asyncio
import contextlib
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from blake3 import blake3

from shared.adapters.sandboxes.local import LocalSandboxes
from shared.adapters.sandboxes.local.layers import KEPT
from shared.adapters.sandboxes.local.limits import Limits
from shared.adapters.sandboxes.local.lines import LINE_LIMIT
from shared.adapters.sandboxes.local.processes import boot_id
from shared.adapters.sandboxes.local.registry import registry_of
from shared.adapters.sandboxes.noop import NoopSandboxes
from shared.contracts.errors import ZepidError
from shared.networks import networks_of
from shared.ports import ANY_HOST, PYTHON, Entry, Exit, Fence, Manifest, OutputFile, Run, Sandboxes

FENCE = Fence(0, 0, 0, 1)
HIGHER = Fence(0, 0, 0, 2)
SECONDS = 20.0
REPOSITORY = Path(__file__).parents[2]


class MemoryObjects:
    """Blobs in memory, as far as a sandbox reads them."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.blobs.get(key)

    def tree(self, files: dict[str, bytes], executable: tuple[str, ...] = ()) -> Manifest:
        entries = {}
        for path, data in sorted(files.items()):
            digest = blake3(data).hexdigest()
            self.blobs[f"blobs/{digest}"] = data
            entries[path] = Entry(digest, len(data), 0o755 if path in executable else 0o644)
        return Manifest(entries)


class Place:
    """One sandbox of a provider, with short words for what tests do to it."""

    def __init__(self, sandboxes: Sandboxes, name: str = "one") -> None:
        self.sandboxes = sandboxes
        self.name = name
        self.objects = MemoryObjects()
        self.lines: list[str] = []
        self.printed = asyncio.Event()

    async def create(self, files: dict[str, bytes], organization: str = "acme") -> "Place":
        await self.sandboxes.create(self.name, organization)
        await self.write(files)
        return self

    async def write(self, files: dict[str, bytes], executable: tuple[str, ...] = (), fence: Fence = FENCE) -> None:
        tree = self.objects.tree(files, executable)
        await self.sandboxes.write(self.name, fence, tree, self.objects)  # type: ignore[arg-type]

    async def run(self, shell: str, fence: Fence = FENCE, timeout: float = 60, **more: object) -> Exit:
        run = Run(shell, timeout, **more)  # type: ignore[arg-type]
        return await self.sandboxes.run(self.name, fence, run, self.on_output)

    async def output_of(self, shell: str, **more: object) -> str:
        self.lines.clear()
        await self.run(shell, **more)  # type: ignore[arg-type]
        return "\n".join(self.lines)

    async def files(self, folder: str = ".", fence: Fence = FENCE) -> dict[str, OutputFile]:
        return {file.path: file async for file in self.sandboxes.collect(self.name, fence, folder)}

    def on_output(self, stream: str, line: str) -> None:
        self.lines.append(line)
        self.printed.set()


@pytest.fixture
async def sandboxes(tmp_path: Path) -> AsyncIterator[LocalSandboxes]:
    provider = LocalSandboxes(tmp_path / "data")
    yield provider
    for name in await provider.names():
        await provider.destroy(name)


@pytest.fixture
def place(sandboxes: LocalSandboxes) -> Place:
    return Place(sandboxes)


@pytest.fixture
def token() -> str:
    """A number of seconds that no other process of this host sleeps."""
    return f"300.{uuid.uuid4().int % 10**15:015}"


def processes_with(token: str) -> list[int]:
    """Host pids of `sleep <token>`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().split(b"\0")[:2] == [b"sleep", token.encode()]:
                found.append(int(path.parent.name))
    return found


async def appeared(token: str, count: int) -> list[int]:
    """Wait until this many sleep, so that their later absence proves something."""
    async with asyncio.timeout(SECONDS):
        while len(found := processes_with(token)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


async def running(place: Place, shell: str, **more: object) -> "asyncio.Task[Exit]":
    """Start a command and return once it has printed something."""
    task = asyncio.create_task(place.run(shell, **more))  # type: ignore[arg-type]
    async with asyncio.timeout(SECONDS):
        await place.printed.wait()
    return task


def code_of_one(error: BaseException) -> str:
    return error.code.name if isinstance(error, ZepidError) else repr(error)


def code_of(error: pytest.ExceptionInfo[ZepidError]) -> str:
    return error.value.code.name


# --- every provider ---------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["local", "noop"])
async def test_a_deployment_passes_from_source_to_output(provider: str, tmp_path: Path) -> None:
    sandboxes: Sandboxes = LocalSandboxes(tmp_path) if provider == "local" else NoopSandboxes()
    place = await Place(sandboxes).create({"package.json": b"{}"})
    await sandboxes.reset("one", FENCE)
    assert await sandboxes.exists("one")
    assert not await sandboxes.restore_layer("one", FENCE, "key")
    assert await place.run("mkdir dist && echo page > dist/index.html") == Exit(0)
    await sandboxes.keep_layer("one", FENCE, "key")
    assert await sandboxes.folders("one", FENCE, ["dist", "build"]) == ["dist"]
    assert "index.html" in await place.files("dist")
    assert await sandboxes.toolchain() == await sandboxes.toolchain() != ""
    await sandboxes.destroy("one")
    await sandboxes.destroy("one")
    assert "one" not in await sandboxes.names()


# --- source -----------------------------------------------------------------------------------------

TREE = {
    "package.json": b"{}",
    "src/login.tsx": b"export {}",
    "src/builder.tsx": b"\n",
    ".env.example": b"A=1",
    ".well-known/empty": b"",
    "bin/run.sh": b"#!/bin/sh\necho ran",
    "données/ß 日本 👩\u200d💻.txt": "ü".encode(),
    "deep/" * 30 + "x": b"deep",
    "binary": bytes(range(256)) * 300,
}


async def test_a_tree_arrives_with_exact_bytes_and_modes(place: Place) -> None:
    await place.create({"old": b"gone with the next write"})
    await place.write(TREE, executable=("bin/run.sh",))
    arrived = await place.files()
    assert {path: file.data for path, file in arrived.items()} == TREE
    assert [path for path, file in arrived.items() if file.mode == 0o755] == ["bin/run.sh"]
    assert await place.output_of("bin/run.sh") == "ran"


async def test_five_thousand_files_are_written_quickly(place: Place) -> None:
    await place.create({})
    files = {f"src/{number % 50}/{number}.ts": str(number).encode() for number in range(5000)}
    started = time.monotonic()
    await place.write(files)
    assert time.monotonic() - started < 8
    assert len(await place.files("src")) == 5000


@pytest.mark.parametrize("path", ["../up", "/absolute", "a/../../b", "", "nul\0", "x" * 300])
async def test_a_path_that_leaves_the_project_is_refused(place: Place, path: str) -> None:
    await place.create({"a": b"kept"})
    with pytest.raises(ZepidError) as error:
        await place.write({path: b"x"})
    assert code_of(error) == "SOURCE_INVALID"
    assert list(await place.files()) == ["a"]


@pytest.mark.parametrize("stored", [None, b"damaged"])
async def test_a_missing_or_damaged_blob_fails_and_leaves_the_old_source(place: Place, stored: bytes | None) -> None:
    await place.create({"a": b"kept"})
    tree = place.objects.tree({"b": b"new"})
    key = f"blobs/{tree.files['b'].digest}"
    place.objects.blobs.pop(key)
    if stored is not None:
        place.objects.blobs[key] = stored
    with pytest.raises(ZepidError) as error:
        await place.sandboxes.write("one", FENCE, tree, place.objects)  # type: ignore[arg-type]
    assert code_of(error) == "STORAGE_READ_FAILED"
    assert list(await place.files()) == ["a"]


async def test_commands_cannot_change_the_source_and_reset_returns_to_it(place: Place) -> None:
    await place.create(TREE)
    line = "rm -r src package.json && echo changed > binary && mkdir src && echo x > src/new && mv bin bin2"
    assert (await place.run(f"{line}; echo dirty > ~/note; rm -rf /project/* /project/.e*")).code == 0
    await place.sandboxes.reset("one", FENCE)
    assert {path: file.data for path, file in (await place.files()).items()} == TREE
    assert await place.output_of("ls -A ~") == ""


# --- layers -----------------------------------------------------------------------------------------


async def test_a_layer_is_restored_over_another_source_of_the_same_organisation(sandboxes: LocalSandboxes) -> None:
    first = await Place(sandboxes, "first").create({"a": b"1", "old/x": b"x", "lock": b"l"})
    await first.run("mkdir -p node_modules/p && echo dep > node_modules/p/index.js; rm lock; rm -r old; mkdir old")
    await sandboxes.keep_layer("first", FENCE, "layer")
    await first.run("echo later > later")
    assert set(await first.files()) == {"a", "later", "node_modules/p/index.js"}

    second = await Place(sandboxes, "second").create({"a": b"2\n", "lock": b"l", "old/y": b"y"})
    assert await sandboxes.restore_layer("second", FENCE, "layer")
    assert await second.output_of("cat a node_modules/p/index.js; ls old") == "2\ndep"
    assert (await second.run("rm -r node_modules && mkdir node_modules && mv a b")).code == 0
    await sandboxes.reset("second", FENCE)
    assert set(await second.files()) == {"a", "lock", "old/y"}


async def test_a_layer_is_invisible_to_other_organisations(sandboxes: LocalSandboxes) -> None:
    await Place(sandboxes, "first").create({})
    await sandboxes.keep_layer("first", FENCE, "layer")
    await Place(sandboxes, "other").create({}, organization="other")
    assert not await sandboxes.restore_layer("other", FENCE, "layer")


async def test_a_layer_kept_twice_stays_as_it_was_and_changes_no_view(sandboxes: LocalSandboxes) -> None:
    places = [await Place(sandboxes, name).create({}) for name in ("a", "b")]
    await asyncio.gather(*(place.run(f"echo {place.name} > {place.name}") for place in places))
    await asyncio.gather(*(sandboxes.keep_layer(place.name, FENCE, "layer") for place in places))
    assert [list(await place.files()) for place in places] == [["a"], ["b"]]


async def test_only_the_most_recently_used_layers_are_kept_and_those_in_use(sandboxes: LocalSandboxes) -> None:
    await Place(sandboxes, "user").create({})
    await Place(sandboxes, "maker").create({})
    await sandboxes.keep_layer("user", FENCE, "in-use")
    for number in range(KEPT + 1):
        await sandboxes.reset("maker", FENCE)
        await sandboxes.keep_layer("maker", FENCE, f"key-{number}")
    assert await sandboxes.restore_layer("user", FENCE, "in-use")
    assert not await sandboxes.restore_layer("maker", FENCE, "key-0")
    assert await sandboxes.restore_layer("maker", FENCE, f"key-{KEPT}")


# --- commands ---------------------------------------------------------------------------------------


async def test_exit_codes_streams_folder_and_variables(place: Place) -> None:
    await place.create({"sub/a": b""})
    got: list[tuple[str, str]] = []
    run = Run('echo "$GREETING"; pwd; echo bad >&2; exit 3', 20, "sub", {"GREETING": "hi", "HOME": "/x", "PATH": "/x"})
    exit = await place.sandboxes.run("one", FENCE, run, lambda stream, line: got.append((stream, line)))
    assert exit == Exit(3)
    assert got.count(("stdout", "hi")) == got.count(("stdout", "/project/sub")) == got.count(("stderr", "bad")) == 1
    assert await place.output_of(
        "echo $HOME; for i in node npm npx; do command -v $i; done", env={"HOME": "/x", "PATH": "/x"}
    ) == ("/home/build\n/toolchain/bin/node\n/toolchain/bin/npm\n/toolchain/bin/npx")


async def test_output_is_plain_text_in_lines_of_bounded_length(place: Place) -> None:
    await place.create({})
    shell = r"printf '\033[31mred\033[0m\033]0;title\007\r\n10%%\r100%%\n\n\377\303\251'; printf '%020000d'"
    lines = (await place.output_of(shell)).split("\n")
    assert lines[:3] == ["red", "100%", ""]
    assert lines[3].startswith("\ufffdé00")
    assert max(map(len, lines)) == LINE_LIMIT
    assert sum(map(len, lines[3:])) == 20002


async def test_a_killed_command_counts_as_out_of_memory(place: Place) -> None:
    await place.create({})
    assert await place.run("kill -9 $$") == Exit(137, out_of_memory=True)


async def test_background_processes_end_with_their_command(place: Place, token: str) -> None:
    await place.create({})
    assert await place.run(f"setsid sleep {token} & exec >&- 2>&-") == Exit(0)
    assert processes_with(token) == []


async def test_a_command_that_takes_too_much_of_the_host_is_ended_alone(tmp_path: Path) -> None:
    sandboxes = LocalSandboxes(tmp_path, limits=Limits(memory=300 << 20, threads=200))
    one, other = await Place(sandboxes).create({}), await Place(sandboxes, "other").create({})
    neighbour = asyncio.create_task(other.run("for n in 1 2 3 4 5 6 7 8; do sleep 0.5 & wait; done; echo done"))
    bomb = 'node -e "const kept = []; setInterval(() => kept.push(Buffer.alloc(20e6, 1)), 10)"'
    exit = await one.run(bomb)
    assert (exit.code, exit.out_of_memory) == (137, True)
    assert "MiB of memory; 300 MiB are allowed" in one.lines[-1]
    await one.run("b() { b & b & wait; }; b", timeout=20)
    spawn = "require('child_process').spawn('sleep', ['60']).on('error', () => 0)"
    exit = await one.run(f'node -e "setInterval(() => {{ try {{ {spawn} }} catch {{}} }}, 1)"')
    assert (exit.code, exit.out_of_memory) == (137, False)
    assert "200 threads, as many as are allowed" in one.lines[-1]
    assert (await neighbour).code == 0
    assert other.lines == ["done"]
    for place in (one, other):
        await sandboxes.destroy(place.name)


async def test_the_time_limit_kills_the_whole_tree(place: Place, token: str) -> None:
    await place.create({})
    task = await running(place, f"setsid sleep {token} & echo ready; trap '' TERM; sleep {token}", timeout=2)
    await appeared(token, 2)
    assert (await task).timed_out
    assert processes_with(token) == []


async def test_cancelling_kills_the_whole_tree(place: Place, token: str) -> None:
    await place.create({})
    task = await running(place, f"setsid sleep {token} & echo ready; sleep {token}")
    await appeared(token, 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes_with(token) == []


async def test_destroy_by_another_process_kills_what_runs(place: Place, token: str, tmp_path: Path) -> None:
    await place.create({})
    task = await running(place, f"mkdir -p locked/in && chmod 0 locked; echo ready; sleep {token}")
    await appeared(token, 1)
    await LocalSandboxes(tmp_path / "data").destroy("one")
    assert processes_with(token) == []
    assert list((tmp_path / "data" / "sandboxes").iterdir()) == []
    with pytest.raises(ZepidError) as error:
        await task
    assert code_of(error) == "SANDBOX_CONNECT_FAILED"


LAST_WORDS = "trap 'sleep 0.2; echo last words; exit 0' TERM; echo ready; sleep {token} & wait"
IN_A_SHELL = 'sh -c "{line}"; echo never'


async def cancelled(place: Place, task: "asyncio.Task[Exit]", tmp_path: Path) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def destroyed(place: Place, task: "asyncio.Task[Exit]", tmp_path: Path) -> None:
    await LocalSandboxes(tmp_path / "data").destroy(place.name)
    with pytest.raises(ZepidError) as error:
        await task
    assert code_of(error) == "SANDBOX_CONNECT_FAILED"


async def run_out_of_time(place: Place, task: "asyncio.Task[Exit]", tmp_path: Path) -> None:
    assert (await task).timed_out


ENDINGS = [cancelled, destroyed, run_out_of_time]


@pytest.mark.parametrize("end", ENDINGS)
async def test_a_command_that_is_ended_may_say_last_words(
    end: Callable[..., Awaitable[None]], place: Place, token: str, tmp_path: Path
) -> None:
    await place.create({})
    line = IN_A_SHELL.format(line=LAST_WORDS.format(token=token))
    task = await running(place, line, timeout=2 if end is run_out_of_time else 60)
    await appeared(token, 1)
    started = time.monotonic()
    await end(place, task, tmp_path)
    assert place.lines == ["ready", "last words"]
    assert time.monotonic() - started < 5
    assert processes_with(token) == []


@pytest.mark.parametrize("end", ENDINGS)
async def test_a_command_that_ignores_being_ended_is_killed_soon(
    end: Callable[..., Awaitable[None]], place: Place, token: str, tmp_path: Path
) -> None:
    await place.create({})
    line = f"trap '' TERM; echo ready; setsid sleep {token} & sleep {token}"
    task = await running(place, line, timeout=2 if end is run_out_of_time else 60)
    await appeared(token, 2)
    started = time.monotonic()
    await end(place, task, tmp_path)
    assert time.monotonic() - started < 8
    assert processes_with(token) == []


async def test_ending_twice_at_once_tells_a_command_once(place: Place, token: str, tmp_path: Path) -> None:
    await place.create({})
    line = f"trap 'echo told; sleep 0.3; exit 0' TERM; echo ready; sleep {token} & while :; do wait; done"
    task = await running(place, line)
    await appeared(token, 1)
    task.cancel()
    await asyncio.gather(task, LocalSandboxes(tmp_path / "data").destroy("one"), return_exceptions=True)
    assert place.lines == ["ready", "told"]
    assert processes_with(token) == []


WORKER = """
import asyncio, sys
from pathlib import Path
from shared.adapters.sandboxes.local import LocalSandboxes
from shared.ports import Fence, Run
data, shell = sys.argv[1:]
run = Run(shell, 60)
asyncio.run(LocalSandboxes(Path(data)).run("one", Fence(0, 0, 0, 1), run, lambda stream, line: print(line, flush=True)))
"""


async def test_a_killed_worker_leaves_nothing_that_disturbs_the_next(place: Place, token: str, tmp_path: Path) -> None:
    await place.create({"a": b"1"})
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(tmp_path / "data"), f"rm a; echo ready; sleep {token}"),
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert worker.stdout
    async with asyncio.timeout(SECONDS):
        assert await worker.stdout.readline() == b"ready\n"
    await appeared(token, 1)
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    await place.sandboxes.reset("one", HIGHER)
    assert processes_with(token) == []
    assert list(await place.files(fence=HIGHER)) == ["a"]


async def test_destroy_ends_the_processes_of_a_worker_that_is_stopped(place: Place, token: str, tmp_path: Path) -> None:
    await place.create({})
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(tmp_path / "data"), f"trap '' TERM; echo ready; sleep {token}"),
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert worker.stdout
    async with asyncio.timeout(SECONDS):
        assert await worker.stdout.readline() == b"ready\n"
    await appeared(token, 1)
    worker.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(8):
            await place.sandboxes.destroy("one")
        assert processes_with(token) == []
        assert not await place.sandboxes.exists("one")
    finally:
        worker.send_signal(signal.SIGKILL)
        await worker.wait()


# --- fences -----------------------------------------------------------------------------------------


async def test_a_higher_fence_ends_what_runs_under_a_lower_one(place: Place, token: str) -> None:
    await place.create({})
    task = await running(place, f"echo ready; sleep {token}")
    await appeared(token, 1)
    assert (await place.run("true", fence=HIGHER)).code == 0
    assert processes_with(token) == []
    with pytest.raises(ZepidError) as error:
        await task
    assert code_of(error) == "SANDBOX_FENCED"


async def test_what_a_takeover_killed_is_not_taken_for_a_failure_of_the_command(place: Place, tmp_path: Path) -> None:
    await place.create({})
    task = await running(place, "echo ready; sleep 0.5; exit 137")
    (tmp_path / "data" / "sandboxes" / place.name / "fence").write_text("[1,0,0,0]")
    with pytest.raises(ZepidError) as error:
        await task
    assert code_of(error) == "SANDBOX_FENCED"


async def test_a_lower_fence_is_refused_everywhere(place: Place) -> None:
    await place.create({"a": b""})
    sandboxes = place.sandboxes
    await sandboxes.reset("one", Fence(1, 0, 0, 0))
    attempts = (
        place.run("true", fence=Fence(0, 0, 9, 9)),
        place.write({}, fence=Fence(0, 0, 9, 9)),
        place.files(fence=FENCE),
        sandboxes.reset("one", FENCE),
        sandboxes.restore_layer("one", FENCE, "key"),
        sandboxes.keep_layer("one", FENCE, "key"),
        sandboxes.folders("one", FENCE, ["a"]),
    )
    for attempt in attempts:
        with pytest.raises(ZepidError) as error:
            await attempt
        assert code_of(error) == "SANDBOX_FENCED"
    assert list(await place.files(fence=Fence(1, 0, 0, 0))) == ["a"]


async def test_a_missing_sandbox_is_said_to_be_missing(place: Place) -> None:
    assert not await place.sandboxes.exists("one")
    for attempt in (place.run("true"), place.write({}), place.files(), place.sandboxes.reset("one", FENCE)):
        with pytest.raises(ZepidError) as error:
            await attempt
        assert code_of(error) == "SANDBOX_CONNECT_FAILED"


# --- what is left behind ----------------------------------------------------------------------------


def as_of_another_boot(folder: Path) -> None:
    """Make a sandbox look as if it had been made before the host was restarted."""
    meta = folder / "meta.json"
    meta.write_bytes(meta.read_bytes().replace(boot_id().encode(), b"another"))


async def test_a_sandbox_of_another_boot_is_gone_and_made_anew(place: Place, tmp_path: Path) -> None:
    await place.create({"a": b"not synced"})
    as_of_another_boot(tmp_path / "data" / "sandboxes" / "one")
    assert not await place.sandboxes.exists("one")
    for attempt in (place.run("true"), place.write({}), place.sandboxes.reset("one", FENCE)):
        with pytest.raises(ZepidError) as error:
            await attempt
        assert code_of(error) == "SANDBOX_CONNECT_FAILED"
    await place.sandboxes.create("one", "acme")
    assert await place.files(fence=Fence(0, 0, 0, 0)) == {}


async def test_a_layer_of_another_boot_is_not_used(place: Place, tmp_path: Path) -> None:
    await place.create({})
    await place.sandboxes.keep_layer("one", FENCE, "layer")
    (layer,) = (tmp_path / "data" / "caches" / "acme" / "layers").glob("layer*")
    layer.rename(layer.with_suffix(".another"))
    await place.sandboxes.reset("one", FENCE)
    assert not await place.sandboxes.restore_layer("one", FENCE, "layer")
    assert await place.sandboxes.tidy(0) == ["caches/acme/layers/layer.another"]


async def test_leftovers_of_killed_processes_are_removed_when_old_and_nothing_else(
    place: Place, token: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    await place.create({"a": b""})
    await place.sandboxes.keep_layer("one", FENCE, "layer")
    names = {"sandboxes/.gone-1", "sandboxes/.new-1", "sandboxes/.probe-1", "toolchains/.new-1"}
    names |= {"caches/acme/layers/.new-1", "caches/acme/layers/.gone-1"}
    for name in names:
        (data / name / "source").mkdir(parents=True)
    task = await running(place, f"echo ready; sleep {token}")
    assert await place.sandboxes.tidy(300) == []
    assert set(await place.sandboxes.tidy(0)) == names
    assert not [path for path in data.rglob(".*") if path.name[1:4] in ("new", "gon", "pro")]
    assert len(await appeared(token, 1)) == 1
    assert await place.sandboxes.restore_layer("one", FENCE, "layer")
    await cancelled(place, task, tmp_path)


async def test_what_runs_in_a_leftover_is_ended(sandboxes: LocalSandboxes, token: str, tmp_path: Path) -> None:
    place = await Place(sandboxes).create({})
    task = await running(place, f"echo ready; sleep {token}")
    await appeared(token, 1)
    folder = tmp_path / "data" / "sandboxes"
    (folder / "one").rename(folder / ".probe-one")
    assert await sandboxes.tidy(0) == ["sandboxes/.probe-one"]
    assert processes_with(token) == []
    assert list(folder.iterdir()) == []
    await asyncio.gather(task, return_exceptions=True)


async def test_creating_and_destroying_at_once_ends_clean(sandboxes: LocalSandboxes, tmp_path: Path) -> None:
    await sandboxes.create("one", "acme")
    others = [LocalSandboxes(tmp_path / "data") for _ in range(2)]
    for _ in range(10):
        calls = [sandboxes.create("one", "acme"), *(other.destroy("one") for other in others)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [error for error in results if error and code_of_one(error) != "SANDBOX_CONNECT_FAILED"] == []
    await sandboxes.destroy("one")
    assert list((tmp_path / "data" / "sandboxes").iterdir()) == []


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "a/b", "a b"])
async def test_an_unsafe_name_is_refused(sandboxes: LocalSandboxes, name: str) -> None:
    for attempt in (sandboxes.create(name, "acme"), sandboxes.create("one", name), sandboxes.destroy(name)):
        with pytest.raises(ZepidError) as error:
            await attempt
        assert code_of(error) == "SANDBOX_CREATE_FAILED"


# --- isolation --------------------------------------------------------------------------------------


async def test_the_worker_s_environment_is_invisible(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", "sentinel-secret")
    await place.create({})
    seen = await place.output_of("env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'", hosts=ANY_HOST)
    assert "HOME=/home/build" in seen
    assert "sentinel-secret" not in seen
    assert "POSTGRES_URL" not in seen


async def test_this_service_s_python_is_there_for_programs_of_ours_without_its_settings(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", "postgresql://secret")
    await place.create({})
    program = "import os, dulwich, shared.git.fetch; print('POSTGRES_URL' in os.environ, shared.__path__)"
    assert await place.output_of(f'python -c "{program}"', tools=PYTHON) == "False ['/toolchain/ours/shared']"
    assert (await place.run("touch /toolchain/ours/shared/x /toolchain/packages/x", tools=PYTHON)).code == 1
    assert (await place.run("command -v python | grep toolchain")).code == 1


async def test_host_files_and_other_sandboxes_are_invisible(sandboxes: LocalSandboxes, tmp_path: Path) -> None:
    (tmp_path / "sentinel-file").write_text("secret")
    await Place(sandboxes, "other").create({"sentinel-file": b"secret"})
    place = await Place(sandboxes).create({})
    assert await place.output_of("find / -xdev -name 'sentinel-*' 2>/dev/null") == ""
    assert (await place.run(f"cat {tmp_path}/sentinel-file")).code != 0
    assert (await place.run("ls /root /mnt /var /srv /sys")).code != 0
    assert set((await place.output_of("ls /home; cat /etc/passwd; ls -d /etc/shadow")).split("\n")[:2]) == {
        "build",
        "build:x:1000:1000::/home/build:/bin/sh",
    }


ASK = 'node -e "fetch(process.argv[1]).then((answer) => answer.text()).then(console.log, () => process.exit(7))" '


@asynccontextmanager
async def answering(words: bytes) -> AsyncIterator[int]:
    """An HTTP server of this host that says something; yields its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(words), words))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_installs_reach_neither_this_host_nor_the_network_behind_it(place: Place) -> None:
    await place.create({})
    async with answering(b"secret") as port:
        directly = f"node -e \"require('net').connect({port}, '127.0.0.1').on('error', () => process.exit(7))\""
        assert (await place.run(directly, hosts=ANY_HOST)).code == 7
        assert (await place.run(f"{ASK} http://127.0.0.1:{port}/", hosts=ANY_HOST)).code == 7
        assert (await place.run(f"{ASK} http://localhost:{port}/", hosts=ANY_HOST)).code == 7
    assert (await place.run(f"{ASK} http://169.254.169.254/latest/meta-data/", hosts=ANY_HOST)).code == 7
    assert (await place.run(f"{ASK} http://203.0.113.9:26/", hosts=ANY_HOST)).code == 7
    said = "\n".join(place.lines)
    assert f"network: 127.0.0.1:{port} was refused: The host 127.0.0.1 has the address 127.0.0.1" in said
    assert "169.254.169.254:80 was refused" in said
    assert "port 26 is closed" in said
    assert "secret" not in said


async def test_the_network_that_an_operator_allows_is_there_for_installs_and_never_for_builds(tmp_path: Path) -> None:
    sandboxes = LocalSandboxes(tmp_path / ("long" * 30) / "data", networks_of("127.0.0.0/8"))
    place = await Place(sandboxes).create({})
    async with answering(b"a package") as port:
        assert await place.output_of(f"{ASK} http://127.0.0.1:{port}/x?y", hosts=ANY_HOST) == "a package"
        assert (await place.run(f"{ASK} http://127.0.0.1:{port}/x?y")).code == 7
    assert (await place.run("exit 3", hosts=ANY_HOST)).code == 3
    assert not list((tmp_path / ("long" * 30) / "data" / "sandboxes" / "one").glob("egress-*"))
    await sandboxes.destroy("one")


async def test_a_command_reaches_the_named_hosts_only_and_it_is_known_whether_it_did(tmp_path: Path) -> None:
    sandboxes = LocalSandboxes(tmp_path, networks_of("127.0.0.0/8"))
    place = await Place(sandboxes).create({})
    async with answering(b"data") as port:
        address = f"http://localhost:{port}/"
        for hosts in (("localhost",), ("a.example.com", "LOCALHOST")):
            assert (await place.run(ASK + address, hosts=hosts)).used_network
        assert place.lines == ["data", "data"]
        refused = await place.run(ASK + address, hosts=("other", "*.localhost"))
        assert (refused.code, refused.used_network) == (7, False)
        assert "localhost is not among the hosts that it may reach" in place.lines[-1]
    assert not (await place.run("true", hosts=("localhost",))).used_network
    await sandboxes.destroy("one")


async def test_the_host_s_own_registry_is_reached_wherever_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(b"{}") as port:
        monkeypatch.setenv("npm_config_registry", f"http://localhost:{port}/")
        await place.create({})
        assert await place.output_of(f"{ASK} http://localhost:{port}/is-number", hosts=ANY_HOST) == "{}"
        assert (await place.run(f"{ASK} http://127.0.0.1:{port}/is-number", hosts=ANY_HOST)).code == 7


async def test_commands_are_not_root_on_the_host_and_have_no_rights(place: Place, token: str) -> None:
    await place.create({})
    task = await running(place, f"echo ready; sleep {token}")
    (pid,) = await appeared(token, 1)
    status = status_of(pid)
    task.cancel()
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert "0" not in status["Groups"].split()
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_system_is_read_only(place: Place) -> None:
    await place.create({})
    for path in ("/proc/sys/kernel/core_pattern", "/usr/x", "/x", "/etc/x", "/etc/passwd", "/toolchain/node/x"):
        assert (await place.run(f"exec 3>>{path}")).code != 0
    assert await place.output_of("ulimit -c") == "0"


async def test_a_data_folder_below_a_private_folder_works(tmp_path: Path) -> None:
    private = tmp_path / "pri vate\\"
    private.mkdir(mode=0o700)
    umask = os.umask(0o077)
    try:
        sandboxes = LocalSandboxes(private / "data")
        place = await Place(sandboxes).create({"a/b": b"1\n"})
        assert await place.output_of("cat a/b && echo 2 > a/b && cat a/b; echo 3 > ~/x; cat ~/x") == "1\n2\n3"
        await sandboxes.destroy("one")
    finally:
        os.umask(umask)


def test_an_install_is_told_the_registry_but_no_token(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("certificate")
    npmrc = tmp_path / "npmrc"
    lines = (
        "//registry.test/:_authToken=sentinel",
        f"cafile = {authority}",
        "registry=https://me:pw@registry.test/npm/",
    )
    npmrc.write_text("\n".join(lines))
    registry = registry_of({"NPM_CONFIG_USERCONFIG": str(npmrc), "HTTPS_PROXY": "http://u:p@proxy.test:3128"})
    assert registry.variables["npm_config_registry"] == "https://registry.test/npm/"
    assert registry.variables["HTTPS_PROXY"] == "http://proxy.test:3128"
    assert registry.certificates == {"npm_config_cafile": authority}
    assert not any("sentinel" in text or "pw" in text for text in registry.variables.values())


@pytest.mark.parametrize("more", [{"cwd": "../up"}, {"env": {"A=B": "1"}}, {"env": {"A": "nul\0"}}, {"env": {"": "1"}}])
async def test_an_unusable_folder_or_variable_is_named(place: Place, more: dict[str, object]) -> None:
    await place.create({})
    with pytest.raises(ZepidError) as error:
        await place.run("true", **more)  # type: ignore[arg-type]
    assert code_of(error) == "BUILD_PLAN_INVALID"


# --- output -----------------------------------------------------------------------------------------


async def test_collect_follows_links_in_the_sandbox_and_reads_regular_files_only(place: Place) -> None:
    await place.create({"assets/logo.svg": b"<svg>"})
    shell = """
        mkdir -p dist && cd dist && echo page > index.html && ln index.html twin.html
        ln -s ../assets assets && ln -s index.html link.html && ln -s nowhere dangling && ln -s . loop
        mkfifo pipe && mkdir empty && chmod 711 link.html && : > none
    """
    await place.run(shell)
    files = {path: file.data for path, file in (await place.files("dist")).items()}
    page = b"page\n"
    assert files == {
        "index.html": page,
        "twin.html": page,
        "link.html": page,
        "none": b"",
        "assets/logo.svg": b"<svg>",
    }


async def test_collect_names_the_file_that_is_too_large(place: Place) -> None:
    await place.create({})
    await place.run("mkdir dist && truncate -s 25M dist/fits && truncate -s 26214401 dist/movie.mp4")
    with pytest.raises(ZepidError, match=r"movie\.mp4") as error:
        await place.files("dist")
    assert code_of(error) == "BUILD_OUTPUT_INVALID"


async def test_collect_refuses_too_many_files_and_unusable_names(place: Place) -> None:
    await place.create({})
    await place.run("mkdir many odd && node -e \"for (let i=0;i<20001;i++) fs.writeFileSync('many/'+i,'')\"")
    await place.run("printf x > odd/$(printf 'a\\377')")
    for folder in ("many", "odd"):
        with pytest.raises(ZepidError) as error:
            await place.files(folder)
        assert code_of(error) == "BUILD_OUTPUT_INVALID"


@pytest.mark.parametrize(
    ("folder", "code"), [("none", "BUILD_NO_OUTPUT"), ("out", "BUILD_NO_OUTPUT"), ("../etc", "BUILD_OUTPUT_INVALID")]
)
async def test_collect_needs_a_folder_of_the_project(place: Place, folder: str, code: str) -> None:
    await place.create({})
    await place.run("ln -s /etc out")
    with pytest.raises(ZepidError) as error:
        await place.files(folder)
    assert code_of(error) == code


async def test_a_reader_that_stops_early_leaves_nothing_running(place: Place) -> None:
    await place.create({f"{number}": b"x" * 100_000 for number in range(300)})
    files = place.sandboxes.collect("one", FENCE, ".")
    async for file in files:
        assert file.path
        break
    await files.aclose()  # type: ignore[attr-defined]
    assert (await place.run("true")).code == 0


async def test_folders_are_those_candidates_that_have_a_file(place: Place) -> None:
    await place.create({"dist/deep/a": b"", "public": b"a file", "sp ace/$(x)'/f": b""})
    await place.run("mkdir -p build/empty; ln -s dist out")
    candidates = ["build", "public", "dist", "none", "../etc", "sp ace/$(x)'", "out", "dist/deep"]
    assert await place.sandboxes.folders("one", FENCE, candidates) == ["dist", "sp ace/$(x)'", "out", "dist/deep"]


# --- real installs ----------------------------------------------------------------------------------

PACKAGE = b'{"name": "app", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}}'
LOCK = b"""{"name": "app", "version": "1.0.0", "lockfileVersion": 3, "packages": {
  "": {"name": "app", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}},
  "node_modules/is-number": {"version": "7.0.0",
    "resolved": "https://registry.npmjs.org/is-number/-/is-number-7.0.0.tgz",
    "integrity": "sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng=="}}}
"""
USE = "node -e \"process.exit(require('is-number')(7) ? 0 : 1)\""


async def test_npm_ci_installs_and_its_layer_replaces_the_next_install(place: Place) -> None:
    await place.create({"package.json": PACKAGE, "package-lock.json": LOCK})
    exit = await place.run("npm ci", hosts=ANY_HOST, timeout=120)
    assert exit.code == 0, place.lines
    await place.sandboxes.keep_layer("one", FENCE, "installed")
    await place.sandboxes.reset("one", FENCE)
    assert (await place.run(USE)).code == 1
    assert await place.sandboxes.restore_layer("one", FENCE, "installed")
    assert (await place.run(USE)).code == 0
    assert (await place.run("npm ci --offline", timeout=120)).code == 0, "from the organisation's cache"


@pytest.mark.parametrize(("manager", "version"), [("pnpm", ""), ("yarn", ""), ("bun", ""), ("npm", "10.9.2")])
async def test_other_package_managers_install(place: Place, manager: str, version: str) -> None:
    await place.create({"package.json": PACKAGE})
    tools = (manager, version)
    exit = await place.run(f"{manager} install", hosts=ANY_HOST, timeout=200, tools=tools)
    assert exit.code == 0, place.lines
    assert (await place.run(USE, tools=tools)).code == 0
    if version:
        assert await place.output_of(f"{manager} --version", tools=tools) == version


async def test_a_newer_yarn_installs(place: Place) -> None:
    await place.create({"package.json": PACKAGE, ".yarnrc.yml": b"nodeLinker: node-modules\n"})
    tools = ("yarn", "4.9.2")
    exit = await place.run("yarn install --no-immutable", hosts=ANY_HOST, timeout=200, tools=tools)
    assert exit.code == 0, place.lines
    assert (await place.run(USE)).code == 0


@pytest.mark.parametrize("tools", [("pip", ""), ("pnpm", "latest"), ("npm", "1.0.0; reboot"), ("bun", "9999.0.0")])
async def test_an_unusable_package_manager_is_the_plan_s_fault(place: Place, tools: tuple[str, str]) -> None:
    await place.create({})
    with pytest.raises(ZepidError) as error:
        await place.run("true", tools=tools)
    assert code_of(error) == "BUILD_PLAN_INVALID"
