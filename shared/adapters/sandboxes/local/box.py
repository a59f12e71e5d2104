"""What a command sees: builds bubblewrap's arguments; starts nothing.

Inside: a read-only system, node and the wanted package manager on PATH, the project at /project, a
private home and /tmp, and the organisation's package cache. Nothing else of the host or of others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from shared.adapters.sandboxes.local.egress import FOLDER_INSIDE, proxied
from shared.adapters.sandboxes.local.folder import UID_INSIDE
from shared.adapters.sandboxes.local.programs import Program
from shared.adapters.sandboxes.local.registry import Registry
from shared.adapters.sandboxes.local.toolchains import Tool

TMP_BYTES = 1 << 30
_ETC = (
    *("resolv.conf", "hosts", "nsswitch.conf", "gai.conf", "services", "protocols", "mime.types", "localtime"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives"),
    *("ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust"),
)
_MASKED = ("/usr/etc", "/usr/local/etc")
_PATH = "/toolchain/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_QUIET = {"CI": "1", "NO_COLOR": "1", "FORCE_COLOR": "0", "TERM": "dumb", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Box:
    """The surroundings of one command; every path is one of the host as bubblewrap sees it.

    Attributes:
        project: bubblewrap arguments that mount /project.
        etc: folder with the sandbox's own passwd and group; None = nothing of that kind.
        node: the folder of node and npm.
        home: writable HOME; None = a temporary one.
        cache: writable package cache at /cache; None = none.
        tool, tool_folder: package manager or program on PATH, and where it is installed if not in `node`.
        python: bubblewrap arguments that put this service's Python on PATH.
        registry: how to reach the package registry; None = no network.
        egress: folder with the socket that is the only way out; "" = with a registry, the host's own network.
        certificates: folder with the registry's certificate files by variable name.
        env: the command's own variables.
        cwd: folder below /project to start in.
    """

    project: tuple[str, ...]
    node: str
    etc: str | None = None
    home: str | None = None
    cache: str | None = None
    tool: Tool | Program | None = None
    tool_folder: str | None = None
    python: tuple[str, ...] = ()
    registry: Registry | None = None
    egress: str = ""
    certificates: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "."

    def arguments(self) -> list[str]:
        """Return bubblewrap's arguments up to the command."""
        return [*self._isolation(), *_system(), *self._etc(), *self._toolchain(), *self._places(), *self._ends()]

    def _isolation(self) -> list[str]:
        inside = str(UID_INSIDE)
        return [
            *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
            *("--clearenv", "--cap-drop", "ALL", "--uid", inside, "--gid", inside, "--hostname", "sandbox"),
            *(("--share-net",) if self.registry and not self.egress else ()),
        ]

    def _etc(self) -> list[str]:
        found = [part for name in _ETC for part in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")]
        for name in ("passwd", "group") if self.etc else ():
            found += ["--ro-bind", f"{self.etc}/{name}", f"/etc/{name}"]
        for name in self.registry.certificates if self.registry else ():
            found += ["--ro-bind", f"{self.certificates}/{name}", f"/etc/registry/{name}"]
        return found

    def _toolchain(self) -> list[str]:
        programs = {
            "node": "/toolchain/node/bin/node",
            "npm": "/toolchain/node/lib/node_modules/npm/bin/npm-cli.js",
            "npx": "/toolchain/node/lib/node_modules/npm/bin/npx-cli.js",
        }
        mounts = ["--ro-bind", self.node, "/toolchain/node"]
        if self.tool and self.tool_folder:
            mounts += ["--ro-bind", self.tool_folder, "/toolchain/manager"]
            programs |= {name: f"/toolchain/manager/{path}" for name, path in self.tool.shims.items()}
        for name, program in programs.items():
            mounts += ["--symlink", program, f"/toolchain/bin/{name}"]
        return [*mounts, *self.python]

    def _places(self) -> list[str]:
        places = [*self.project, "--bind", self.home, "/home/build"] if self.home else [*self.project]
        if self.cache:
            places += ["--bind", self.cache, "/cache"]
        if self.egress:
            places += ["--ro-bind", self.egress, FOLDER_INSIDE]
        return places

    def _ends(self) -> list[str]:
        variables = {**_QUIET, **(self.tool.variables if self.tool else {})}
        if self.registry:
            files = {name: f"/etc/registry/{name}" for name in self.registry.certificates}
            variables |= proxied(self.registry.variables) if self.egress else self.registry.variables
            variables |= files
        home = "/home/build" if self.home else "/tmp"
        variables |= {**self.env, "PATH": _PATH, "HOME": home}
        settings = [part for name, value in variables.items() for part in ("--setenv", name, value)]
        return [*settings, "--remount-ro", "/", "--chdir", str(PurePosixPath("/project", self.cwd))]


def _system() -> list[str]:
    """The read-only system, with fresh /proc, /dev, /tmp and /run."""
    mounts = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        path = Path(name)
        if path.is_symlink():
            mounts += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            mounts += ["--ro-bind", name, name]
    for name in _MASKED:
        if Path(name).is_dir():
            mounts += ["--tmpfs", name, "--remount-ro", name]
    return [
        *mounts,
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(TMP_BYTES), "--tmpfs", "/tmp"),
        *("--perms", "0755", "--size", str(TMP_BYTES), "--tmpfs", "/run"),
    ]
