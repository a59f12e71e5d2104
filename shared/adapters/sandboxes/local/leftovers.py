"""Removes what killed processes left half-made or set aside on this host, and layers of earlier boots."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from shared.adapters.sandboxes.local.folder import SandboxFolder
from shared.adapters.sandboxes.local.host import Host
from shared.adapters.sandboxes.local.layers import is_usable


def remove_leftovers(host: Host, older_than: float) -> list[str]:
    """End what still runs in leftovers at least `older_than` seconds old, remove them, return their paths."""
    newest = time.time() - older_than
    found = [path for path in _leftovers(host) if _changed_at(path) <= newest]
    for path in found:
        SandboxFolder(path, host.owner).destroy()
    return [str(path.relative_to(host.data)) for path in found]


def _leftovers(host: Host) -> Iterator[Path]:
    layers = list(host.caches.glob("*/layers"))
    for folder in (host.sandboxes, host.toolchains, *layers):
        for kind in (".new-*", ".probe-*", ".gone-*"):
            yield from folder.glob(kind)
    for folder in layers:
        yield from (path for path in folder.glob("[!.]*") if not is_usable(path))


def _changed_at(path: Path) -> float:
    """Return when a folder was made, renamed or given another entry; one that is gone is too young."""
    with suppress(FileNotFoundError):
        return path.stat().st_ctime
    return float("inf")
