"""What was live, what is, going back, and what a deployment has built."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from shared.client.answers import Answer
from shared.client.transport import Transport


class Lock(Answer, frozen=True):
    """Nothing is put live for the project."""

    locked_by: str
    reason: str = ""
    locked_at: str = ""


class Release(Answer, frozen=True):
    """A release that was live once; `kept` says whether the site can go back to it, `size` is in bytes."""

    id: str
    deployment_id: str
    created_at: str
    live: bool
    pinned: bool
    kept: bool
    url: str
    files: int = 0
    size: int = 0


class ReleasePage(Answer, frozen=True):
    """Releases, newest first; `next_cursor` asks for the next page."""

    releases: tuple[Release, ...]
    next_cursor: str | None = None
    lock: Lock | None = None


class RolledBack(Answer, frozen=True):
    """The release is live; `changed` is false where it was before."""

    release_id: str
    url: str
    changed: bool
    previous_release_id: str | None = None


class Rollback(Answer, frozen=True):
    """A rollback; `state` is pending, confirmed, undone or overtaken."""

    id: str
    to_release_id: str
    user_id: str
    reason: str
    at: str
    state: str
    from_release_id: str | None = None
    fault: str | None = None


class _Rollbacks(Answer, frozen=True):
    rollbacks: tuple[Rollback, ...]
    next_cursor: str | None = None


class _Locked(Answer, frozen=True):
    lock: Lock | None


class _Pinned(Answer, frozen=True):
    pinned: bool


class ArtifactFile(Answer, frozen=True):
    """One built file; `size` in bytes, `digest` its BLAKE3."""

    path: str
    size: int
    digest: str
    type: str = ""


class Artifacts(Answer, frozen=True):
    """Everything that a deployment has built."""

    deployment_id: str
    release_id: str
    files: tuple[ArtifactFile, ...]
    total_bytes: int = 0


class Removed(Answer, frozen=True):
    """How much of what was removed, or would have been."""

    deployments: int = 0
    releases: int = 0
    snapshots: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    logs: int = 0
    log_bytes: int = 0
    builds: int = 0
    uploads: int = 0


class Cleanup(Answer, frozen=True):
    """What a cleanup came to."""

    removed: Removed
    freed_bytes: int
    dry_run: bool = False


class Releases:
    """`client.releases`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def page(self, project_id: str, limit: int = 50, cursor: str | None = None) -> ReleasePage:
        """Return one page of a project's releases, newest first, and its lock."""
        params = {"limit": limit, "cursor": cursor}
        return await self._transport.ask("GET", f"{_path(project_id)}/releases", ReleasePage, params=params)

    async def all(self, project_id: str) -> AsyncGenerator[Release, None]:
        """Yield a project's releases, newest first."""
        cursor: str | None = None
        while True:
            page = await self.page(project_id, 200, cursor)
            for release in page.releases:
                yield release
            if (cursor := page.next_cursor) is None:
                return

    async def roll_back(self, project_id: str, release_id: str, reason: str = "") -> RolledBack:
        """Serve a kept release again; returns when it was seen live."""
        order = {"releaseId": release_id, "reason": reason}
        return await self._transport.ask("POST", f"{_path(project_id)}/rollback", RolledBack, json=order)

    async def rollbacks(self, project_id: str, limit: int = 50) -> tuple[Rollback, ...]:
        """Return a project's latest rollbacks, newest first."""
        path = f"{_path(project_id)}/rollbacks"
        return (await self._transport.ask("GET", path, _Rollbacks, params={"limit": limit})).rollbacks

    async def pin(self, project_id: str, release_id: str, *, pinned: bool = True) -> bool:
        """Keep a release for ever, or no longer; returns what is true afterwards."""
        path = f"{_path(project_id)}/releases/{quote(release_id, safe='')}/pin"
        return (await self._transport.ask("POST" if pinned else "DELETE", path, _Pinned)).pinned

    async def lock(self, project_id: str, reason: str = "") -> Lock | None:
        """Let nothing be put live for a project."""
        return (await self._transport.ask("POST", f"{_path(project_id)}/lock", _Locked, json={"reason": reason})).lock

    async def unlock(self, project_id: str) -> None:
        """Take a project's lock away; fine if there is none."""
        await self._transport.ask("DELETE", f"{_path(project_id)}/lock", _Locked)

    async def artifacts(self, deployment_id: str) -> Artifacts:
        """Return the list of what a deployment has built."""
        return await self._transport.ask("GET", f"{_built(deployment_id)}", Artifacts)

    async def file(self, deployment_id: str, path: str) -> bytes:
        """Return the bytes of one built file."""
        return (await self._transport.send("GET", f"{_built(deployment_id)}/file", params={"path": path})).content

    async def download(self, deployment_id: str, to: Path, format: Literal["tar.gz", "zip"] = "tar.gz") -> int:
        """Write everything that a deployment has built to an archive; return its size in bytes."""
        size = 0
        with to.open("wb") as file:
            async for piece in self._transport.stream(f"{_built(deployment_id)}/archive", {"format": format}):
                size += file.write(piece)
        return size

    async def cleanup(
        self, older_than_days: int | None = None, keep_releases: int | None = None, *, dry_run: bool = False
    ) -> Cleanup:
        """Remove what is no longer kept, or with `dry_run` only count it."""
        order: dict[str, Any] = {"dryRun": dry_run}
        if older_than_days is not None:
            order["olderThanDays"] = older_than_days
        if keep_releases is not None:
            order["keepReleases"] = keep_releases
        return await self._transport.ask("POST", "/status/cleanup", Cleanup, json=order)


def _path(project_id: str) -> str:
    return f"/projects/{quote(project_id, safe='')}"


def _built(deployment_id: str) -> str:
    return f"/deploy/{quote(deployment_id, safe='')}/artifacts"
