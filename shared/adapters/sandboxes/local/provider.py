"""The provider of sandboxes on this host. All its state is on disk: any process of the host may carry on."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from shared.adapters.sandboxes.local.box import Box
from shared.adapters.sandboxes.local.command import Command, run_command
from shared.adapters.sandboxes.local.egress import Egress, with_egress
from shared.adapters.sandboxes.local.files import is_relative, make_folder
from shared.adapters.sandboxes.local.folder import Meta, SandboxFolder, checked_name
from shared.adapters.sandboxes.local.host import Places, command_places, this_host
from shared.adapters.sandboxes.local.installer import Installer
from shared.adapters.sandboxes.local.layers import Layers
from shared.adapters.sandboxes.local.leftovers import remove_leftovers
from shared.adapters.sandboxes.local.limits import DEFAULT, Limits
from shared.adapters.sandboxes.local.output import collect_files, find_line, tar_line
from shared.adapters.sandboxes.local.programs import Program
from shared.adapters.sandboxes.local.python import python_folders, python_mounts
from shared.adapters.sandboxes.local.registry import Registry
from shared.adapters.sandboxes.local.source import write_source
from shared.adapters.sandboxes.local.toolchains import Tool, describe, tool_of
from shared.contracts.errors import ZepidError
from shared.networks import Network
from shared.ports import PYTHON, Exit, Fence, Manifest, Objects, OnOutput, OutputFile, Run

_LOOK_SECONDS = 60.0


class LocalSandboxes:
    """Runs untrusted code on this host in bubblewrap; see `shared.ports.Sandboxes`.

    Args:
        data: the folder for sandboxes, caches and tools; made when missing.
        allowed: networks that installs and builds may reach although they are not public.
        limits: what a command may take of the host.
    """

    def __init__(self, data: Path, allowed: Sequence[Network] = (), limits: Limits = DEFAULT) -> None:
        self._host = this_host(data)
        self._allowed = allowed
        self._limits = limits
        self._installer = Installer(self._host)
        self._probed = False
        self._probing = asyncio.Lock()

    async def create(self, name: str, organization_id: str) -> None:
        """Make the sandbox; fine if it is there already."""
        await self._probe()
        meta = Meta(checked_name(organization_id))
        await asyncio.to_thread(self._make, self._folder(name), meta)

    async def exists(self, name: str) -> bool:
        """Whether the sandbox is there."""
        return self._folder(name).exists()

    async def write(self, name: str, fence: Fence, manifest: Manifest, objects: Objects) -> None:
        """Write the exact bytes and modes of a tree as the project's source, verified by digest."""
        await write_source(self._folder(name), fence, manifest, objects)

    async def reset(self, name: str, fence: Fence) -> None:
        """Throw away everything that commands changed; only the written source remains."""
        await asyncio.to_thread(self._folder(name).reset, fence)

    async def restore_layer(self, name: str, fence: Fence, key: str) -> bool:
        """Put an earlier layer of the same organisation on top of the source; False if none."""
        folder = self._folder(name)
        return await asyncio.to_thread(self._layers(folder.meta()).restore, folder, fence, key)

    async def keep_layer(self, name: str, fence: Fence, key: str) -> None:
        """Keep what commands have changed since `reset` under `key`, for this organisation only."""
        folder = self._folder(name)
        await asyncio.to_thread(self._layers(folder.meta()).keep, folder, fence, key)

    async def run(self, name: str, fence: Fence, run: Run, on_output: OnOutput) -> Exit:
        """Run one command to its end; its whole process tree is dead when this returns or raises."""
        _check(run)
        is_ours = run.tools == PYTHON
        if is_ours:
            command = await asyncio.to_thread(self._python_command, self._folder(name), fence, run.shell)
        else:
            tool = tool_of(run.tools)
            await self._installer.install(tool)
            command = await asyncio.to_thread(self._command, self._folder(name), fence, run.shell, tool)
        registry = self._installer.registry if run.hosts else None
        command.box = replace(command.box, env=run.env, cwd=run.cwd, registry=registry)
        if registry and not is_ours:
            return await self._run_by_proxy(command, registry, run, on_output)
        return await run_command(command, run.timeout, on_output, self._limits)

    async def _run_by_proxy(self, command: Command, registry: Registry, run: Run, on_output: OnOutput) -> Exit:
        """Run a command that is not ours with a network: a proxy decides what it reaches."""
        egress = Egress(registry, run.hosts, self._allowed, on_output)
        async with egress.open(command.folder.path) as folder:
            command.places = replace(command.places, folders=command.places.folders | {"egress": folder})
            command.box = replace(command.box, egress=command.places.at("egress"))
            command.argv = with_egress(command.argv)
            exit = await run_command(command, run.timeout, on_output, self._limits)
        return replace(exit, used_network=egress.was_used)

    async def collect(self, name: str, fence: Fence, folder: str) -> AsyncIterator[OutputFile]:
        """Read the regular files below a folder of the project (links followed within it)."""
        command = await asyncio.to_thread(self._command, self._folder(name), fence, tar_line(folder))
        async for file in collect_files(command, folder):
            yield file

    async def folders(self, name: str, fence: Fence, candidates: Iterable[str]) -> list[str]:
        """Return those candidates (relative paths) that are folders with at least one file."""
        asked = [candidate for candidate in candidates if is_relative(candidate)]
        command = await asyncio.to_thread(self._command, self._folder(name), fence, find_line(asked))
        positions: list[str] = []
        await run_command(command, _LOOK_SECONDS, lambda stream, line: positions.append(line))
        return [asked[int(position)] for position in positions if position.isdigit()]

    async def toolchain(self) -> str:
        """Return a text that changes whenever the tools in the sandboxes change."""
        return describe()

    async def destroy(self, name: str) -> None:
        """Kill every process of the sandbox, prove it, and remove its files; fine if it is gone."""
        await asyncio.to_thread(self._folder(name).destroy)

    async def names(self) -> list[str]:
        """The sandboxes there are on this host."""
        return sorted(path.name for path in self._host.sandboxes.glob("[!.]*"))

    async def tidy(self, older_than: float) -> list[str]:
        """Remove what processes that were killed left half-made, at least `older_than` seconds old; return what."""
        return await asyncio.to_thread(remove_leftovers, self._host, older_than)

    def _folder(self, name: str) -> SandboxFolder:
        return SandboxFolder(self._host.sandboxes / checked_name(name), self._host.owner)

    def _layers(self, meta: Meta) -> Layers:
        return Layers(self._host.cache(meta.organization_id) / "layers", self._host.sandboxes)

    def _make(self, folder: SandboxFolder, meta: Meta) -> None:
        try:
            make_folder(self._host.sandboxes, 0o700)
            make_folder(self._host.caches, 0o700)
            make_folder(self._host.cache(meta.organization_id), 0o755)
            make_folder(self._host.toolchains, 0o755)
            folder.create(meta)
        except OSError as error:
            raise ZepidError(
                "SANDBOX_CREATE_FAILED", f"The sandbox's folder could not be made: {error.strerror}."
            ) from error

    def _command(self, folder: SandboxFolder, fence: Fence, shell: str, tool: Tool | Program | None = None) -> Command:
        """Return a shell command in the project as it is now; with a tool, its cache, if any, and home are there."""
        meta = folder.meta()
        cache = self._host.cache(meta.organization_id)
        places = command_places(self._host, sandbox=folder.path, cache=cache, toolchains=self._host.toolchains)
        box = Box(_overlay(places, meta.layer), places.at("node"), places.at("sandbox", "etc"))
        if isinstance(tool, Tool):
            make_folder(cache / tool.manager, 0o755, self._host.owner)
            box = replace(box, cache=places.at("cache", tool.manager))
        if tool:
            box = replace(
                box,
                home=places.at("sandbox", "home"),
                tool=tool,
                tool_folder=places.at("toolchains", tool.folder) if tool.folder else None,
                certificates=places.at("toolchains", "certificates"),
            )
        return Command(folder, fence, places, box, self._limits.within(["/bin/sh", "-c", shell]))

    def _python_command(self, folder: SandboxFolder, fence: Fence, shell: str) -> Command:
        """Return a shell command that finds this service's Python; it has no cache and a temporary home."""
        command = self._command(folder, fence, shell)
        command.places = replace(command.places, folders=command.places.folders | python_folders())
        certificates = command.places.at("toolchains", "certificates")
        command.box = replace(command.box, python=python_mounts(command.places), certificates=certificates)
        return command

    async def _probe(self) -> None:
        """Prove once that sandboxes work here, by running one."""
        async with self._probing:
            if self._probed:
                return
            folder = SandboxFolder(self._host.sandboxes / f".probe-{uuid.uuid4().hex}", self._host.owner)
            await asyncio.to_thread(self._make, folder, Meta("probe"))
            fence = Fence(0, 0, 0, 0)
            try:
                command = self._command(folder, fence, "touch probe")
                result = await run_command(command, _LOOK_SECONDS, lambda stream, line: None)
            except ZepidError as error:
                raise _unusable(error.excerpt or error.message) from error
            finally:
                await asyncio.to_thread(folder.destroy)
            if result.code != 0:
                raise _unusable("its project folder is not writable")
            self._probed = True


def _check(run: Run) -> None:
    if not is_relative(run.cwd):
        raise ZepidError("BUILD_PLAN_INVALID", f"The folder {run.cwd!r} leaves the project.")
    for name, value in run.env.items():
        if not name or "=" in name or "\0" in name + value:
            raise ZepidError("BUILD_PLAN_INVALID", f"The variable {name!r} cannot be set; rename it.")


def _overlay(places: Places, layer: str) -> tuple[str, ...]:
    lower = ["--overlay-src", places.at("sandbox", "source")]
    if layer:
        lower += ["--overlay-src", places.at("cache", "layers", layer, "tree")]
    return (*lower, "--overlay", places.at("sandbox", "upper"), places.at("sandbox", "work"), "/project")


def _unusable(reason: str) -> ZepidError:
    return ZepidError(
        "SANDBOX_CREATE_FAILED",
        "This host cannot run sandboxes: they need user namespaces and a data folder whose file system can hold"
        " an overlay (ext4, xfs, btrfs or tmpfs; not a container's own).",
        excerpt=reason,
    )
