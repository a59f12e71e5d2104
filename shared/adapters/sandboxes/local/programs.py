"""Programs that Workers need: one file each from the registry, of one exact version, installed once a host."""

import platform
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """A program that an npm package brings ready to run, one package for each kind of processor.

    Attributes:
        name: what it is called, also the executable's name.
        version: exact.
        scope: the package's name up to the processor.
        arm, intel: what the package's name ends with.
    """

    name: str
    version: str
    scope: str
    arm: str = "arm64"
    intel: str = "x64"

    @property
    def folder(self) -> str:
        """Folder below `toolchains`."""
        return f"{self.name}-{self.version}"

    @property
    def package(self) -> str:
        """What npm installs to get it."""
        return f"{self._package}@{self.version}"

    @property
    def executable(self) -> str:
        """The program, relative to the folder."""
        return f"node_modules/{self._package}/bin/{self.name}"

    @property
    def shims(self) -> dict[str, str]:
        """Name on PATH → program, relative to the folder."""
        return {self.name: self.executable}

    @property
    def variables(self) -> dict[str, str]:
        """Environment that it needs."""
        return {}

    @property
    def _package(self) -> str:
        return self.scope + (self.arm if platform.machine() in ("aarch64", "arm64") else self.intel)


ESBUILD = Program("esbuild", "0.28.2", "@esbuild/linux-")
"""Bundles the script of a Worker."""
WORKERD = Program("workerd", "1.20261117.1", "@cloudflare/workerd-linux-", intel="64")
"""Runs it; the version's date is the newest compatibility date it knows."""
