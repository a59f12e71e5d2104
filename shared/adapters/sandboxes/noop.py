"""A provider that does nothing, for the pipeline's benchmark and tests: every call succeeds at once."""

from collections.abc import AsyncIterator, Iterable

from shared.ports import Exit, Fence, Manifest, Objects, OnOutput, OutputFile, Run

_PAGE = b"<!doctype html><title>noop</title><p>Built by the noop sandbox."


class NoopSandboxes:
    """Remembers nothing and runs nothing; every build has one page. See `shared.ports.Sandboxes`."""

    async def create(self, name: str, organization_id: str) -> None:
        """Succeed."""

    async def exists(self, name: str) -> bool:
        """Every sandbox is there."""
        return True

    async def write(self, name: str, fence: Fence, manifest: Manifest, objects: Objects) -> None:
        """Succeed; no blob is read."""

    async def reset(self, name: str, fence: Fence) -> None:
        """Succeed."""

    async def restore_layer(self, name: str, fence: Fence, key: str) -> bool:
        """There is never a layer."""
        return False

    async def keep_layer(self, name: str, fence: Fence, key: str) -> None:
        """Succeed; nothing is kept."""

    async def run(self, name: str, fence: Fence, run: Run, on_output: OnOutput) -> Exit:
        """Succeed without running the command."""
        return Exit(0)

    async def collect(self, name: str, fence: Fence, folder: str) -> AsyncIterator[OutputFile]:
        """Yield one page."""
        yield OutputFile("index.html", 0o644, _PAGE)

    async def folders(self, name: str, fence: Fence, candidates: Iterable[str]) -> list[str]:
        """Return the first candidate, if any."""
        return list(candidates)[:1]

    async def toolchain(self) -> str:
        """Return a constant."""
        return "noop"

    async def destroy(self, name: str) -> None:
        """Succeed."""

    async def names(self) -> list[str]:
        """There are none."""
        return []

    async def tidy(self, older_than: float) -> list[str]:
        """There is nothing to remove."""
        return []
