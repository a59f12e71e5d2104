"""Where a source tree comes from: recorded with its snapshot, and frozen with each deployment of it."""

from typing import Literal

import msgspec


class SourceOrigin(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a tree was given.

    Attributes:
        type: uploaded; made of the platform's template and message history; or fetched from a git server.
        url, ref: of git: the repository, and a branch, tag or commit; ref "" = its default branch.
        commit: of git: what the ref named when it was fetched, "" before.
        of_project: it follows from the project's row, which the project's next deployment reads anew.
        warnings: what was left out or misunderstood, for the deployment's log.
    """

    type: Literal["upload", "platform", "git"] = "upload"
    url: str = ""
    ref: str = ""
    commit: str = ""
    of_project: bool = False
    warnings: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return one line for people."""
        if self.type == "git":
            return f"source: {self.url}, {self.ref or 'default branch'} at commit {self.commit or '?'}"
        return "source: template and message history" if self.type == "platform" else "source: uploaded"


class SourceTree(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A tree that is to become a snapshot when its deployment is accepted, or is yet to be fetched.

    Attributes:
        manifest: digest of the stored manifest, "" when there is no tree yet.
        origin: how it was given.
    """

    origin: SourceOrigin
    manifest: str = ""
    file_count: int = 0
    total_bytes: int = 0
