"""Layers: what an install changed, kept for the next deployment of the same organisation.

A layer is the upper part of an overlay, moved to the organisation's cache and only read from then on:
keeping and restoring cost a rename, not a copy. Its files are not synced: it serves until the next boot.
"""

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.sandboxes.local.files import locked, make_folder, remove_set_aside, set_aside
from shared.adapters.sandboxes.local.folder import SandboxFolder, checked_name
from shared.adapters.sandboxes.local.processes import boot_id
from shared.contracts.errors import ZepidError
from shared.ports import Fence

KEPT = 10
"""Layers kept an organisation, the most recently used."""


def is_usable(path: Path) -> bool:
    """Whether a layer is of this boot; the files of another may not have reached the disk."""
    return path.suffix == f".{boot_id()}"


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one organisation, each `<path>/<key>.<boot>/tree`, used last at the folder's mtime."""

    path: Path
    sandboxes: Path

    def restore(self, folder: SandboxFolder, fence: Fence, key: str) -> bool:
        """Put a layer on top of a sandbox's source; False if there is none by this key."""
        make_folder(self.path, 0o755)
        with locked(self.path / ".lock"), folder.claimed(fence):
            layer = self._of(key)
            try:
                os.utime(layer)
            except FileNotFoundError:
                return False
            folder.set_layer(layer.name)
            return True

    def keep(self, folder: SandboxFolder, fence: Fence, key: str) -> None:
        """Make what commands changed in a sandbox the layer `key`, unless there is one already.

        The sandbox sees the same files before and after.

        Raises:
            ZepidError: SANDBOX_COMMAND_FAILED, the sandbox stands on a layer already; and as
                `SandboxFolder.claimed`.
        """
        make_folder(self.path, 0o755)
        with locked(self.path / ".lock"), folder.claimed(fence):
            target = self._of(key)
            if target.exists():
                os.utime(target)
                return
            if folder.meta().layer:
                raise ZepidError(
                    "SANDBOX_COMMAND_FAILED",
                    f"Sandbox {folder.path.name} already stands on a layer; reset it before keeping another.",
                )
            new = self.path / f".new-{uuid.uuid4().hex}"
            make_folder(new, 0o755)
            (folder.path / "upper").rename(new / "tree")
            new.rename(target)
            folder.set_layer(target.name)
            folder.renew("upper", "work")
            self._prune()
        remove_set_aside(folder.path)
        remove_set_aside(self.path)

    def _of(self, key: str) -> Path:
        return self.path / f"{checked_name(key)}.{boot_id()}"

    def _prune(self) -> None:
        keys = [path for path in self.path.iterdir() if not path.name.startswith(".")]
        keys.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        in_use = self._in_use()
        for path in keys[KEPT:]:
            if path.name not in in_use:
                set_aside(path)

    def _in_use(self) -> set[str]:
        used = set()
        for path in self.sandboxes.glob("[!.]*"):
            with suppress(ZepidError):
                used.add(SandboxFolder(path, None).meta().layer)
        return used
