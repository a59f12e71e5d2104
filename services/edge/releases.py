"""The files of releases. A release never changes, so what was read once is true for ever."""

from typing import NamedTuple

import asyncpg

from services.edge.cache import Cache
from services.edge.queries import RELEASE, fetch
from services.edge.responses import is_versioned
from shared.blobs import load_manifest
from shared.ports import Entry, Objects

MOST_FILES = 100_000
"""Files in the manifests kept in memory."""


class Release(NamedTuple):
    """A release: its site, and its files by path."""

    id: str
    site: str
    files: dict[str, Entry]


class Releases:
    """Releases by id, the ones used last from memory."""

    def __init__(self, pool: asyncpg.Pool, objects: Objects) -> None:
        self._pool = pool
        self._objects = objects
        self._cache: Cache[str, Release] = Cache(MOST_FILES, lambda release: 1 + len(release.files))
        self._earlier: Cache[tuple[str, ...], dict[str, Release]] = Cache(MOST_FILES, lambda files: 1 + len(files))

    async def get(self, release_id: str) -> Release | None:
        """Return the release, or None.

        Raises:
            ZepidError: SERVICE_UNAVAILABLE or STORAGE_READ_FAILED.
        """
        return await self._cache.get(release_id, lambda: self._load(release_id))

    async def earlier(self, release_ids: tuple[str, ...], path: str) -> Release | None:
        """Return the first of these releases with a file of that path, whose name tells its content, or None.

        Raises:
            ZepidError: SERVICE_UNAVAILABLE or STORAGE_READ_FAILED.
        """
        files = await self._earlier.get(release_ids, lambda: self._load_earlier(release_ids)) or {}
        return files.get(path)

    async def _load_earlier(self, release_ids: tuple[str, ...]) -> dict[str, Release]:
        found: dict[str, Release] = {}
        for release_id in reversed(release_ids):
            if release := await self.get(release_id):
                found.update(dict.fromkeys(filter(is_versioned, release.files), release))
        return found

    async def _load(self, release_id: str) -> Release | None:
        row = await fetch(self._pool, RELEASE, release_id)
        if row is None:
            return None
        manifest = await load_manifest(self._objects, row["manifest"])
        return Release(release_id, row["site"], manifest.files)
