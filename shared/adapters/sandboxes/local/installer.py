"""Installs package managers and programs once a host, and shows sandboxes the registry's certificates."""

import asyncio
import os
import uuid
from functools import cached_property
from pathlib import Path

from shared.adapters.sandboxes.local.box import Box
from shared.adapters.sandboxes.local.command import Command, run_command
from shared.adapters.sandboxes.local.files import make_folder, remove_tree, replace_file
from shared.adapters.sandboxes.local.folder import Meta, SandboxFolder
from shared.adapters.sandboxes.local.host import Host, command_places
from shared.adapters.sandboxes.local.programs import Program
from shared.adapters.sandboxes.local.registry import Registry, registry_of
from shared.adapters.sandboxes.local.toolchains import Tool
from shared.contracts.errors import ZepidError
from shared.ports import Fence

_INSTALL_SECONDS = 120.0
_QUICKLY = "--fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000"
"""Somebody waits: a registry that does not answer is said to be away after seconds."""


class Installer:
    """What this host's sandboxes share: tools and the way to the registry.

    Args:
        host: this host.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._installing = asyncio.Lock()

    @cached_property
    def registry(self) -> Registry:
        """How to reach the registry; its certificate files are copied to where sandboxes can see them."""
        registry = registry_of()
        folder = self._host.toolchains / "certificates"
        make_folder(folder, 0o755)
        for name, file in registry.certificates.items():
            replace_file(folder / name, file.read_bytes())
        return registry

    async def install(self, tool: Tool | Program) -> None:
        """Install a tool unless it is there or comes with node: by npm, in a sandbox of its own, without its scripts.

        Raises:
            ZepidError: BUILD_PLAN_INVALID, the registry has no such version; or as `Command.started`.
        """
        target = self._host.toolchains / tool.folder
        if not tool.folder or target.exists():
            return
        async with self._installing:
            if target.exists():
                return
            name = f".new-{uuid.uuid4().hex}"
            folder = SandboxFolder(self._host.toolchains / name, self._host.owner)
            try:
                await asyncio.to_thread(folder.create, Meta("toolchains"))
                await self._run(folder, tool)
                await asyncio.to_thread(_move, folder.path / "source", target)
            finally:
                await asyncio.to_thread(remove_tree, folder.path)

    async def _run(self, folder: SandboxFolder, tool: Tool | Program) -> None:
        places = command_places(self._host, sandbox=folder.path, toolchains=self._host.toolchains)
        box = Box(
            ("--bind", places.at("sandbox", "source"), "/project"),
            places.at("node"),
            places.at("sandbox", "etc"),
            home=places.at("sandbox", "home"),
            registry=self.registry,
            certificates=places.at("toolchains", "certificates"),
        )
        line = (
            f"npm install {_QUICKLY} --ignore-scripts --no-audit --no-fund --no-save --prefix /project {tool.package}"
        )
        command = Command(folder, Fence(0, 0, 0, 0), places, box, ["/bin/sh", "-c", line])
        printed: list[str] = []
        result = await run_command(command, _INSTALL_SECONDS, lambda stream, text: printed.append(text))
        if result.code != 0:
            unknown = any(reason in text for text in printed for reason in ("ETARGET", "E404"))
            code = "BUILD_PLAN_INVALID" if unknown else "SANDBOX_COMMAND_FAILED"
            excerpt = "\n".join(printed[-10:])
            raise ZepidError(code, f"{tool.package} could not be installed.", excerpt=excerpt)


def _move(made: Path, target: Path) -> None:
    os.sync()  # it is used in later boots too
    try:
        made.rename(target)
    except OSError:
        if not target.exists():
            raise
