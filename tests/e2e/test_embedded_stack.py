"""The embedded stack with its real servers: starts, ends, deaths and refusals."""

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import asyncpg
import nats
import pytest

from infra.dev.data_dir import HOST
from infra.dev.errors import EmbeddedStackError
from infra.dev.nats import NatsServer
from infra.dev.postgres import PostgresServer
from infra.dev.stack import EmbeddedStack, Endpoints
from tests.waiting import quickest

ROOT = Path(__file__).parents[2]
AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs")
NATS_ELSEWHERE = "nats://elsewhere:4222"
POSTGRES_ELSEWHERE = "postgresql://elsewhere/zepid"
HOLDER = """
import asyncio, json, os, signal, sys
from pathlib import Path
from infra.dev.stack import EmbeddedStack

async def run():
    stack = EmbeddedStack(Path(sys.argv[1]), {})
    async with stack as endpoints:
        pids = [stack.nats.pid, stack.postgres.pid]
        print(json.dumps({"uid": os.getuid(), "pids": pids, "postgres_url": endpoints.postgres_url}), flush=True)
        await asyncio.Event().wait()

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    asyncio.run(run())
except KeyboardInterrupt:
    pass
"""


async def test_a_second_start_finds_data_ports_and_passwords_again_and_is_fast(tmp_path: Path) -> None:
    async with EmbeddedStack(tmp_path, {}) as first:
        await write_a_row_and_a_message(first)
    async with EmbeddedStack(tmp_path, {}) as second:
        assert second == first
        assert await read_the_row_and_the_message(second) == (42, b"kept")

    async def start_and_stop() -> None:
        async with EmbeddedStack(tmp_path, {}):
            pass

    assert await quickest(start_and_stop) < 1


async def test_secrets_in_the_data_folder_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    async with EmbeddedStack(tmp_path, {}):
        for name in ("nats.password", "postgres.password", "nats/nats-server.conf"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        for name in ("nats", "postgres", "objects", "logs"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


async def test_nobody_gets_in_without_the_password(tmp_path: Path) -> None:
    async with EmbeddedStack(tmp_path, {}) as endpoints:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(endpoints.postgres_url, password="wrong")
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await nats.connect(endpoints.nats_url.replace("zepid:", "zepid:not-"), allow_reconnect=False)


async def test_servers_die_with_a_killed_parent_and_the_next_start_works(tmp_path: Path) -> None:
    with held(tmp_path) as (holder, said):
        holder.kill()
    assert said["pids"]
    await until(lambda: not any(is_alive(pid) for pid in said["pids"]), seconds=2)
    async with EmbeddedStack(tmp_path, {}) as endpoints:
        assert endpoints.postgres_url == said["postgres_url"]


async def test_a_start_right_after_the_parent_was_killed_waits_for_the_old_servers(tmp_path: Path) -> None:
    with held(tmp_path) as (holder, said):
        holder.kill()
    async with EmbeddedStack(tmp_path, {}) as endpoints:
        assert endpoints.postgres_url == said["postgres_url"]
        await write_a_row_and_a_message(endpoints)


async def test_a_second_holder_of_the_data_folder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with held(tmp_path) as (holder, _):
        with pytest.raises(EmbeddedStackError, match=rf"in use by process {holder.pid}\."):
            async with EmbeddedStack(tmp_path, {}):
                pass
        press_ctrl_c(holder)


async def test_ctrl_c_reaches_the_parent_alone_and_it_stops_both_servers(tmp_path: Path) -> None:
    with held(tmp_path) as (holder, said):
        press_ctrl_c(holder)
    assert not any(is_alive(pid) for pid in said["pids"])
    assert "database system is shut down" in (tmp_path / "logs" / "postgres.log").read_text()
    broker_log = (tmp_path / "logs" / "nats.log").read_text()
    assert 'Trapped "terminated" signal' in broker_log
    assert "interrupt" not in broker_log


async def test_given_addresses_replace_the_parts_one_by_one(tmp_path: Path) -> None:
    given = {"NATS_URL": NATS_ELSEWHERE, "POSTGRES_URL": POSTGRES_ELSEWHERE, "OBJECT_STORE_URL": "s3://bucket"}
    outside = EmbeddedStack(tmp_path / "a", given)
    async with outside as endpoints:
        assert endpoints == Endpoints(NATS_ELSEWHERE, POSTGRES_ELSEWHERE, "s3://bucket")
        assert outside.nats is None
        assert outside.postgres is None
    async with EmbeddedStack(tmp_path / "b", {"POSTGRES_URL": POSTGRES_ELSEWHERE}) as endpoints:
        assert endpoints.postgres_url == POSTGRES_ELSEWHERE
        assert endpoints.object_store_url == f"file://{tmp_path}/b/objects"
        await (await nats.connect(endpoints.nats_url)).close()
        assert not (tmp_path / "b" / "postgres").exists()


async def test_a_killed_broker_is_back_on_its_port_with_its_messages(tmp_path: Path) -> None:
    stack = EmbeddedStack(tmp_path, {"POSTGRES_URL": POSTGRES_ELSEWHERE})
    async with stack as endpoints:
        assert stack.nats is not None
        reconnected = asyncio.Event()

        async def on_reconnect() -> None:
            reconnected.set()

        client = await nats.connect(endpoints.nats_url, reconnected_cb=on_reconnect, reconnect_time_wait=0.05)
        stream = client.jetstream()
        await stream.add_stream(name="kept", subjects=["kept"])
        await stream.publish("kept", b"kept")
        killed = stack.nats.pid
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(10):
            await reconnected.wait()
        assert stack.nats.pid != killed
        assert stack.nats.url == endpoints.nats_url
        assert (await stream.get_msg("kept", 1)).data == b"kept"
        await client.close()


async def test_a_killed_database_server_is_back_on_its_port_with_its_rows(tmp_path: Path) -> None:
    stack = EmbeddedStack(tmp_path, {"NATS_URL": NATS_ELSEWHERE})
    async with stack as endpoints:
        server = stack.postgres
        assert server is not None
        killed = server.pid
        connection = await asyncpg.connect(endpoints.postgres_url)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(killed, signal.SIGKILL)
        await until(lambda: server.pid != killed, seconds=10)
        async with asyncio.timeout(10):
            connection = await connected(endpoints.postgres_url)
        assert await connection.fetchval("SELECT answer FROM kept") == 42
        await connection.close()


async def test_a_failed_start_shows_the_log_and_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir(mode=0o700)
    stack = EmbeddedStack(tmp_path, {})
    with pytest.raises(EmbeddedStackError) as caught:
        async with stack:
            pass
    assert "The embedded postgres ended with exit code 2" in str(caught.value)
    assert "could not access the server configuration file" in str(caught.value)
    assert f"whole log: {tmp_path}/logs/postgres.log" in str(caught.value)
    assert stack.nats is not None
    assert not is_alive(stack.nats.pid)
    async with EmbeddedStack(tmp_path, {"POSTGRES_URL": POSTGRES_ELSEWHERE}):
        pass


async def test_a_given_port_in_use_is_named(tmp_path: Path) -> None:
    with closing(socket.create_server((HOST, 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedStackError, match=f"Port {port} of {HOST} is in use"):
            await NatsServer(tmp_path, port).start()


async def test_a_remembered_port_that_another_program_took_is_replaced(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    await server.start()
    await server.stop()
    with closing(socket.create_server((HOST, server.port))):
        moved = NatsServer(tmp_path)
        await moved.start()
        await moved.stop()
    assert moved.port != server.port


async def test_a_pid_file_that_names_another_program_now_does_not_stop_the_database(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, durable=False)
    await server.start()
    await server.stop()
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        (server.folder / "postmaster.pid").write_text(f"{stranger.pid}\n{server.folder}\n")
        await server.start()
        await server.stop()
    finally:
        stranger.kill()
        await stranger.wait()


async def test_a_lost_password_is_explained(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, durable=False)
    await server.start()
    await server.stop()
    (tmp_path / "postgres.password").unlink()
    with pytest.raises(EmbeddedStackError, match=r"Put the original .*postgres\.password back"):
        await server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs a user namespace")
async def test_root_without_user_namespaces_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = tmp_path / "unshare"
    refusing.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(EmbeddedStackError, match="ordinary user, or set POSTGRES_URL") as caught:
        await PostgresServer(tmp_path / "data").start()
    assert "Operation not permitted" in str(caught.value)


async def test_it_says_which_platform_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EmbeddedStackError, match="Linux only, not on darwin"):
        async with EmbeddedStack(tmp_path, {}):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_it_runs_as_an_ordinary_user(nobodys_folder: Path) -> None:
    with held(nobodys_folder / "data", *AS_NOBODY) as (holder, said):
        press_ctrl_c(holder)
    assert said["uid"] == 65534


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    readable = subprocess.run([*AS_NOBODY, sys.executable, "-c", "import infra.dev.stack"], cwd=ROOT, check=False)
    if readable.returncode != 0:
        pytest.skip("an ordinary user cannot read this checkout or its Python")
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, 65534, 65534)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def held(data_dir: Path, *prefix: str) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    """Run the stack in another process until Ctrl-C; give it and what it said when ready."""
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", HOLDER, str(data_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as holder:
        assert holder.stdout is not None
        try:
            yield holder, json.loads(holder.stdout.readline())
        finally:
            holder.kill()


def press_ctrl_c(holder: subprocess.Popen[str]) -> None:
    """Interrupt the foreground process group, as a terminal does, and expect a clean end."""
    os.killpg(holder.pid, signal.SIGINT)
    assert holder.wait(timeout=20) == 0


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not yet collected does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        await asyncio.sleep(0.01)


async def connected(url: str) -> asyncpg.Connection:
    while True:
        try:
            return await asyncpg.connect(url)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            await asyncio.sleep(0.01)


async def write_a_row_and_a_message(endpoints: Endpoints) -> None:
    connection = await asyncpg.connect(endpoints.postgres_url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await connection.close()
    client = await nats.connect(endpoints.nats_url)
    await client.jetstream().add_stream(name="kept", subjects=["kept"])
    await client.jetstream().publish("kept", b"kept")
    await client.close()


async def read_the_row_and_the_message(endpoints: Endpoints) -> tuple[int, bytes]:
    connection = await asyncpg.connect(endpoints.postgres_url)
    answer = await connection.fetchval("SELECT answer FROM kept")
    await connection.close()
    client = await nats.connect(endpoints.nats_url)
    message = await client.jetstream().get_msg("kept", 1)
    await client.close()
    return answer, message.data
