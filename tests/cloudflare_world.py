"""A fake Cloudflare with a publisher in front of it, and releases to publish; no database."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shared import blobs
from shared.adapters.objects import ARTIFACTS, open_objects
from shared.adapters.publishers.cloudflare.publisher import CloudflarePublisher
from shared.hosting import AssetRules, Hosting, Module, WorkerScript
from shared.ports import Entry, Manifest, Objects, Pointed
from shared.settings import Settings, load_settings
from tests.fakes.cloudflare import FakeCloudflare, fake_cloudflare

SITE = "shop"


class OnePointer:
    """A site's pointer that a test moves."""

    def __init__(self) -> None:
        self.pointed = Pointed()
        self.environment: dict[str, str] = {}
        self.noted: list[str] = []

    @asynccontextmanager
    async def publishing(self, site: str) -> AsyncIterator["OnePointer"]:
        yield self

    async def read(self) -> Pointed:
        return self.pointed

    async def variables(self, release: str) -> dict[str, str]:
        return self.environment

    async def begin(self, release: str) -> None:
        self.noted.append(release)

    async def finish(self) -> None:
        self.noted.append("done")

    async def end(self) -> None:
        self.noted.append("")


class CloudflareWorld:
    """What a test has; `pauses` are the seconds that were waited between tries, without waiting."""

    def __init__(self, fake: FakeCloudflare, objects: Objects, settings: Settings) -> None:
        self.fake = fake
        self.objects = objects
        self.settings = settings
        self.pointer = OnePointer()
        self.pauses: list[float] = []
        self.publisher = self.another_publisher()

    def another_publisher(self, **changes: Any) -> CloudflarePublisher:
        """A publisher that knows nothing yet, as after a crash; with other settings."""
        settings = load_settings(self.settings.as_environ(), **changes)
        return CloudflarePublisher(settings, self.objects, self.pointer, probe_seconds=2, pause=self.pause)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def store(self, files: Mapping[str, bytes], hosting: Hosting | None = None) -> str:
        digests = await asyncio.gather(*(blobs.store(self.objects, data) for data in files.values()))
        entries = {path: Entry(digest, len(data)) for (path, data), digest in zip(files.items(), digests, strict=True)}
        return await blobs.store_manifest(self.objects, Manifest(entries, hosting))

    async def worker(
        self, modules: Mapping[str, bytes], *, assets: AssetRules | None = None, **variables: Any
    ) -> Hosting:
        """Hosting with a Worker; the first module is entered."""
        stored = {name: Module(await blobs.store(self.objects, data), len(data)) for name, data in modules.items()}
        script = WorkerScript(next(iter(modules)), stored, variables)
        return Hosting("2025-01-01", ("nodejs_compat",), assets, script)

    async def point(
        self, release: str, files: Mapping[str, bytes], hosting: Hosting | None = None, **variables: str
    ) -> None:
        """Let the pointer name a release of these files."""
        manifest = await self.store(files, hosting)
        self.pointer.pointed = Pointed(release, manifest, self.pointer.pointed.release)
        self.pointer.environment = variables

    async def publish(
        self, release: str, files: Mapping[str, bytes], hosting: Hosting | None = None, **variables: str
    ) -> None:
        """Point and publish."""
        await self.point(release, files, hosting, **variables)
        await self.publisher.publish(SITE, release)


@asynccontextmanager
async def cloudflare_world(folder: Path) -> AsyncIterator[CloudflareWorld]:
    """Run a fake of the test's own."""
    async with fake_cloudflare() as fake:
        objects = open_objects(f"file://{folder}/objects", ARTIFACTS)
        yield CloudflareWorld(fake, objects, load_settings({}, **fake.settings))
