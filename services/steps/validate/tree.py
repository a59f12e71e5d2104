"""The source tree as the plan sees it: which files there are, and the texts of a few."""

import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tree:
    """A source tree.

    Attributes:
        files: every path.
        texts: contents of those files that the plan reads.
    """

    files: Collection[str]
    texts: Mapping[str, bytes] = field(default_factory=dict)

    def join(self, folder: str, name: str) -> str:
        """Return the path of a file or folder in a folder of the tree; "." and "" are the top."""
        return posixpath.normpath(posixpath.join(folder, name))

    def has_folder(self, folder: str) -> bool:
        """Whether there is a file below the folder."""
        return folder == "." or any(path.startswith(f"{folder}/") for path in self.files)

    def top_folders(self) -> list[str]:
        """Return the folders at the top, sorted."""
        return sorted({path.split("/")[0] for path in self.files if "/" in path})
