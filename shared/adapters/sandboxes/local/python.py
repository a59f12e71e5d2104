"""This service's Python for programs of ours that have to meet untrusted data: read-only, and without its settings."""

import sys
import sysconfig
from pathlib import Path

import shared
from shared.adapters.sandboxes.local.host import Places

_PROGRAM = f"python{sys.version_info.major}.{sys.version_info.minor}"


def python_folders() -> dict[str, Path]:
    """Return the folders it needs, by name: the interpreter, the installed packages, our `shared`."""
    return {
        "python": Path(sys.base_prefix),
        "packages": Path(sysconfig.get_path("purelib")),
        "shared": Path(shared.__path__[0]),
    }


def python_mounts(places: Places) -> tuple[str, ...]:
    """Return bubblewrap's arguments that make `python` a command which finds `shared` and the packages."""
    program = f"/toolchain/python/bin/{_PROGRAM}"
    return (
        *("--ro-bind", places.at("python"), "/toolchain/python"),
        *("--ro-bind", places.at("packages"), "/toolchain/packages"),
        *("--ro-bind", places.at("shared"), "/toolchain/ours/shared"),
        *("--symlink", program, "/toolchain/bin/python"),
        *("--setenv", "PYTHONPATH", "/toolchain/ours:/toolchain/packages"),
        *("--setenv", "PYTHONDONTWRITEBYTECODE", "1", "--setenv", "PYTHONSAFEPATH", "1"),
    )
