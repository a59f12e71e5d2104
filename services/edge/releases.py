"""The files of releases. A release never changes, so what was read once is true for ever."""

import asyncio
from typing import NamedTuple

import asyncpg

from services.edge.cache import Cache
from services.edge.header_rules import HeaderRule, parse_headers
from services.edge.queries import RELEASE, fetch
from services.edge.redirect_rules import Redirects, parse_redirects
from services.edge.responses import is_versioned
from shared.assets import asset_tree
from shared.blobs import load_manifest
from shared.hosting import STATIC, Hosting, HtmlHandling, NotFoundHandling
from shared.ports import Entry, Objects

MOST_FILES = 100_000
"""Files in the manifests kept in memory."""


class Release(NamedTuple):
    """A release: its site and whose that is, its static files by path, and how they answer.

    Attributes:
        not_found_handling: None for a project without a configuration, where the edge judges by the files and the
            kind of request.
        hosting: how it is served, its Worker among it.
    """

    id: str
    site: str
    organization_id: str
    files: dict[str, Entry]
    html_handling: HtmlHandling = "auto-trailing-slash"
    not_found_handling: NotFoundHandling | None = None
    headers: tuple[HeaderRule, ...] = ()
    redirects: Redirects = Redirects()
    hosting: Hosting = STATIC

    @property
    def weight(self) -> int:
        """What it takes in memory, in files; a compiled rule counts as several."""
        return 1 + len(self.files) + len(self.redirects.static) + 20 * (len(self.redirects.dynamic) + len(self.headers))

    @property
    def unconfigured(self) -> bool:
        """Whether its project leaves to the edge how to serve it."""
        return self.not_found_handling is None


class Releases:
    """Releases by id, the ones used last from memory."""

    def __init__(self, pool: asyncpg.Pool, objects: Objects) -> None:
        self._pool = pool
        self._objects = objects
        self._cache: Cache[str, Release] = Cache(MOST_FILES, lambda release: release.weight)
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
        if (rules := manifest.served.assets) is None:
            return Release(
                release_id, row["site"], row["organization_id"], {}, not_found_handling="none", hosting=manifest.served
            )
        tree = await asset_tree(manifest, self._objects)
        html_handling = rules.html_handling or "auto-trailing-slash"
        return Release(
            release_id,
            row["site"],
            row["organization_id"],
            tree.files,
            html_handling,
            rules.not_found_handling or ("none" if manifest.hosting else None),
            await asyncio.to_thread(parse_headers, tree.headers or ""),
            await asyncio.to_thread(parse_redirects, tree.redirects or "", html_handling),
            manifest.served,
        )
