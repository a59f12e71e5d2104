"""What one sandbox is on disk, so that any process of this host can carry on with it.

<sandboxes>/<name>/meta.json   organisation, boot, layer
                   fence       highest fence seen, under a file lock
                   running/    one file a command: its processes
                   etc/        passwd and group as commands see them
                   source/     the written tree, never changed by a command
                   upper/ work/ what commands changed in the project, as an overlay keeps it
                   home/       the commands' HOME
"""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shared.adapters.sandboxes.local import processes
from shared.adapters.sandboxes.local.files import (
    locked,
    make_folder,
    remove_set_aside,
    remove_tree,
    replace_file,
    set_aside,
)
from shared.adapters.sandboxes.local.processes import Process
from shared.contracts.errors import ZepidError
from shared.ports import Fence

UID_INSIDE = 1000
_PASSWD = f"build:x:{UID_INSIDE}:{UID_INSIDE}::/home/build:/bin/sh\n"
_GROUP = f"build:x:{UID_INSIDE}:\n"
_CHANGED = ("upper", "work", "home")


class Meta(msgspec.Struct, frozen=True):
    """What a sandbox is.

    Attributes:
        organization_id: whose.
        boot: id of the boot it was made in. Its files are not synced: after another boot it counts as gone.
        layer: folder of the layer on top of its source; "" = none.
    """

    organization_id: str
    boot: str = msgspec.field(default_factory=processes.boot_id)
    layer: str = ""


def checked_name(name: str) -> str:
    """Return a name that is safe as a folder's.

    Raises:
        ZepidError: SANDBOX_CREATE_FAILED, it is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", name):
        raise ZepidError("SANDBOX_CREATE_FAILED", f"{name!r} is not a usable name: letters, digits, - and _ only.")
    return name


@dataclass(frozen=True, slots=True)
class SandboxFolder:
    """One sandbox's folder.

    Attributes:
        path: the folder.
        owner: uid and gid of the sandbox's processes; None = this process's own.
    """

    path: Path
    owner: tuple[int, int] | None

    def create(self, meta: Meta) -> None:
        """Make the folder whole or not at all; fine if it is there already.

        Raises:
            ZepidError: SANDBOX_CREATE_FAILED, it belongs to another organisation; SANDBOX_CONNECT_FAILED, it
                went away at this moment.
        """
        new = self.path.with_name(f".new-{uuid.uuid4().hex}")
        make_folder(new, 0o755)
        for name in ("running", "etc"):
            make_folder(new / name, 0o755)
        for name in ("source", *_CHANGED):
            make_folder(new / name, 0o755, self.owner)
        replace_file(new / "etc" / "passwd", _PASSWD.encode())
        replace_file(new / "etc" / "group", _GROUP.encode())
        replace_file(new / "meta.json", msgspec.json.encode(meta))
        if self.path.exists() and not self.exists():
            self._set_aside(unless_usable=True)
        try:
            new.rename(self.path)
        except OSError:
            remove_tree(new)
            if self.meta().organization_id != meta.organization_id:
                raise ZepidError(
                    "SANDBOX_CREATE_FAILED", f"Sandbox {self.path.name} belongs to another organisation."
                ) from None

    def exists(self) -> bool:
        """Whether there is such a sandbox, made in this boot."""
        return self._read_meta() is not None

    def meta(self) -> Meta:
        """Return what the sandbox is; raises SANDBOX_CONNECT_FAILED when it is gone."""
        if (meta := self._read_meta()) is None:
            raise self._gone()
        return meta

    def _read_meta(self) -> Meta | None:
        try:
            meta = msgspec.json.decode((self.path / "meta.json").read_bytes(), type=Meta)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return meta if meta.boot == processes.boot_id() else None

    def set_layer(self, name: str) -> None:
        """Name the folder of the layer on top of the source."""
        meta = msgspec.structs.replace(self.meta(), layer=name)
        replace_file(self.path / "meta.json", msgspec.json.encode(meta))

    @contextmanager
    def claimed(self, fence: Fence) -> Iterator[None]:
        """Hold the sandbox against others for a moment, as the attempt with this fence.

        A fence higher than those seen takes over: what runs is killed first.

        Raises:
            ZepidError: SANDBOX_FENCED, a higher fence was seen; SANDBOX_CONNECT_FAILED, it is gone.
        """
        with self._locked() as descriptor:
            self.meta()
            text = os.pread(descriptor, 200, 0)
            seen = Fence(*msgspec.json.decode(text, type=tuple[int, int, int, int])) if text else None
            if seen and fence < seen:
                raise ZepidError("SANDBOX_FENCED", f"Sandbox {self.path.name} is owned by a newer attempt.")
            if seen != fence:
                self._end_running()
                new = msgspec.json.encode((fence.epoch, fence.step, fence.issue, fence.delivery))
                os.pwrite(descriptor, new, 0)
                os.truncate(descriptor, len(new))
            yield

    def record(self, fence: Fence, command: str, members: list[Process]) -> None:
        """Note the processes of a running command, for whoever must kill it; raises like `claimed`."""
        with self.claimed(fence):
            replace_file(self.path / "running" / command, msgspec.json.encode(members))

    def end(self, command: str, tree: list[Process], grace: float) -> None:
        """End a command as `processes.end_tree` does, unless another is about to; then drop its note."""
        try:
            with self._locked():
                processes.end_tree(tree, grace)
                (self.path / "running" / command).unlink(missing_ok=True)
        except ZepidError as error:
            if error.code.name != "SANDBOX_CONNECT_FAILED":
                raise
            processes.end_tree(tree)

    def reset(self, fence: Fence) -> None:
        """Start over from the written source; raises like `claimed`."""
        with self.claimed(fence):
            self._end_running()
            self.set_layer("")
            self.renew(*_CHANGED)
        remove_set_aside(self.path)

    def renew(self, *names: str) -> None:
        """Put an empty folder in the place of each of these; the old ones are only set aside."""
        for name in names:
            set_aside(self.path / name)
            make_folder(self.path / name, 0o755, self.owner)

    def destroy(self) -> None:
        """End what runs, prove it dead, remove everything; fine if it is gone."""
        self._set_aside()
        remove_set_aside(self.path.parent)

    def _set_aside(self, *, unless_usable: bool = False) -> None:
        try:
            with self._locked():
                if unless_usable and self.exists():
                    return  # another process has made it meanwhile
                self._end_running(processes.GRACE_SECONDS)
                set_aside(self.path)
        except ZepidError as error:
            if error.code.name != "SANDBOX_CONNECT_FAILED":
                raise

    @contextmanager
    def _locked(self) -> Iterator[int]:
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(locked(self.path / "fence"))
            except FileNotFoundError:
                raise self._gone() from None
            yield descriptor

    def _end_running(self, grace: float = 0.0) -> None:
        if not self.exists():
            return  # nothing outlives its boot
        for note in (self.path / "running").glob("[!.]*"):
            processes.end_tree(msgspec.json.decode(note.read_bytes(), type=list[Process]), grace)
            note.unlink(missing_ok=True)

    def _gone(self) -> ZepidError:
        return ZepidError("SANDBOX_CONNECT_FAILED", f"There is no sandbox {self.path.name} on this host.")
