"""The small protocols a step works through, and the values that cross them.

A port exists where there is more than one implementation; one conformance suite runs over all.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from shared.hosting import STATIC, Hosting
from shared.settings import Settings
from shared.source_origin import SourceOrigin, SourceTree


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a tree.

    Attributes:
        digest: BLAKE3 of the bytes, lower-case hex; the blob's name.
        size: bytes.
        mode: permission bits, 0o644 or 0o755.
    """

    digest: str
    size: int
    mode: int = 0o644


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tree of files: relative POSIX path → entry, sorted by path; a blob itself when encoded.

    Attributes:
        hosting: how the files of a release are served; None for a plain static site and for sources.
    """

    files: dict[str, Entry]
    hosting: Hosting | None = None

    @property
    def served(self) -> Hosting:
        """How the files are served."""
        return self.hosting or STATIC

    @property
    def digests(self) -> Iterator[str]:
        """Every blob that the tree needs: its files, and the modules of its Worker."""
        yield from (entry.digest for entry in self.files.values())
        if self.hosting and self.hosting.worker:
            yield from (module.digest for module in self.hosting.worker.modules.values())

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return sum(entry.size for entry in self.files.values())


class Stat(NamedTuple):
    """An object without its bytes: its size, and when it was written, seconds since 1970."""

    key: str
    size: int
    written_at: float


class Objects(Protocol):
    """A bucket of bytes by key. Failures raise STORAGE_READ_FAILED or STORAGE_WRITE_FAILED."""

    async def get(self, key: str) -> bytes | None:
        """Return the object, or None where there is none."""
        ...

    def read(self, key: str, start: int, end: int) -> AsyncIterator[memoryview]:
        """Yield the bytes from `start` up to `end` in chunks of 256 KiB or a little more; fails if any is missing."""
        ...

    def open(self, key: str) -> BinaryIO | None:
        """Return the object as an open file where the store is a folder of this host; None elsewhere."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Write the object whole, replacing what was there; never visible in part."""
        ...

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; fine if there is none."""
        ...

    def keys(self, prefix: str) -> AsyncIterator[str]:
        """All keys that start with `prefix`, a folder such as `logs/deploy_1/`."""
        ...

    def stats(self, prefix: str) -> AsyncIterator[Stat]:
        """All objects whose key starts with `prefix`, a folder."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Fence:
    """Orders attempts on one sandbox; a higher one ends a lower one, a lower one is refused.

    `step` is the position in the pipeline: a later step has begun only because the earlier one is done.
    """

    epoch: int
    step: int
    issue: int
    delivery: int


@dataclass(frozen=True, slots=True)
class Run:
    """One command line in a sandbox.

    Attributes:
        shell: the line, run by `sh -c`.
        cwd: folder relative to the project's root.
        env: variables besides the sandbox's own PATH and HOME.
        hosts: names of the hosts that it may reach, `*.example.com` for those below one; none: it has no network.
        tools: package manager and exact version ("" = default) to put on PATH, e.g. ("pnpm", "10.1.0"); or `PYTHON`,
            or `BUNDLER`.
        timeout: seconds until it is killed.
    """

    shell: str
    timeout: float
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    tools: tuple[str, str] | None = None


ANY_HOST = ("*",)
"""The package registry, and every host with a public address."""
PYTHON = ("python", "")
"""The tool that is this service's own Python, with the packages it needs and `shared`, for programs of ours."""
BUNDLER = ("esbuild", "")
"""The tool that makes one script of many: esbuild, of the version that this service has chosen."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended.

    Attributes:
        code: its exit code.
        timed_out: the time limit ended it.
        out_of_memory: it took more memory than there is.
        used_network: it has reached another host, so what it made may come out otherwise the next time.
    """

    code: int
    timed_out: bool = False
    out_of_memory: bool = False
    used_network: bool = False


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file of a built output, read whole (at most 25 MiB)."""

    path: str
    mode: int
    data: bytes


OnOutput = Callable[[str, str], None]
"""Called with (`stdout` | `stderr`, one line without its break) as a command prints."""


class Sandboxes(Protocol):
    """A provider of isolated places for untrusted code. Sandboxes are named by their deployment.

    Calls that work in a sandbox carry a fence. One lower than a fence already seen raises
    SANDBOX_FENCED; a missing sandbox raises SANDBOX_CONNECT_FAILED.
    """

    async def create(self, name: str, organization_id: str) -> None:
        """Make the sandbox; fine if it is there already."""
        ...

    async def exists(self, name: str) -> bool:
        """Whether the sandbox is there."""
        ...

    async def write(self, name: str, fence: Fence, manifest: Manifest, objects: Objects) -> None:
        """Write the exact bytes and modes of a tree as the project's source, verified by digest.

        Replaces a source written before. Nothing that runs later can change the written tree
        itself: `reset` returns to it.
        """
        ...

    async def reset(self, name: str, fence: Fence) -> None:
        """Throw away everything that commands changed; only the written source remains."""
        ...

    async def restore_layer(self, name: str, fence: Fence, key: str) -> bool:
        """Put an earlier `keep_layer` of the same organisation on top of the source; False if none."""
        ...

    async def keep_layer(self, name: str, fence: Fence, key: str) -> None:
        """Keep what commands have changed since `reset` under `key`, for this organisation only."""
        ...

    async def run(self, name: str, fence: Fence, run: Run, on_output: OnOutput) -> Exit:
        """Run one command to its end; its whole process tree is dead when this returns or raises."""
        ...

    def collect(self, name: str, fence: Fence, folder: str) -> AsyncIterator[OutputFile]:
        """Read the regular files below a folder of the project (links followed within it)."""
        ...

    async def folders(self, name: str, fence: Fence, candidates: Iterable[str]) -> list[str]:
        """Return those candidates (relative paths) that are folders with at least one file."""
        ...

    async def toolchain(self) -> str:
        """Return a text that changes whenever the tools in the sandboxes change."""
        ...

    async def destroy(self, name: str) -> None:
        """Kill every process of the sandbox, prove it, and remove its files; fine if it is gone."""
        ...

    async def names(self) -> list[str]:
        """The sandboxes there are on this provider."""
        ...

    async def tidy(self, older_than: float) -> list[str]:
        """Remove what processes that were killed left half-made, at least `older_than` seconds old; return what."""
        ...


class Publisher(Protocol):
    """A place that serves releases."""

    def public_url(self, site: str) -> str:
        """The address people use."""
        ...

    def release_url(self, site: str, release: str) -> str:
        """The address at which one release answers whether or not the site's pointer names it."""
        ...

    async def prepare_workers(self) -> None:
        """Make sure that Workers can run there; raises WORKER_RUNTIME_MISSING."""
        ...

    async def publish(self, site: str, release: str) -> None:
        """Make the place serve what the pointer names now, be it this release or another, or none.

        Doing it twice changes nothing and costs little. Raises PUBLISH_FAILED, or another PUBLISH_… that says more.
        """
        ...

    async def probe(self, url: str, release: str) -> None:
        """Ask an address of ours until it answers 2xx as this release; else RELEASE_PROBE_FAILED."""
        ...


@dataclass(frozen=True, slots=True)
class Pointed:
    """What a place that keeps copies is to serve for a site.

    Attributes:
        release: "" for nothing: the site has no release, or one that is served elsewhere.
        manifest: digest of the release's manifest.
        published: the release that the place was last told to serve, or "".
    """

    release: str = ""
    manifest: str = ""
    published: str = ""


class Pointer(Protocol):
    """A site's pointer, while nobody else publishes the site."""

    async def read(self) -> Pointed:
        """Return what the pointer names now."""
        ...

    async def variables(self, release: str) -> dict[str, str]:
        """Return the environment frozen with a release, for its Worker; never to be logged."""
        ...

    async def begin(self, release: str) -> None:
        """Note what the place is about to serve."""
        ...

    async def finish(self) -> None:
        """Note that the place serves it."""
        ...

    async def end(self) -> None:
        """Note that the place serves nothing any more."""
        ...


class Pointers(Protocol):
    """Sites to publish to a place that keeps copies."""

    def publishing(self, site: str) -> AbstractAsyncContextManager[Pointer]:
        """Wait until nobody else publishes the site, and be the one who does for the length of a block."""
        ...


class StepLog(Protocol):
    """The log of one attempt of one step, as people see it."""

    def write(self, stream: str, message: str, level: str = "info") -> None:
        """Append one line (`stdout`, `stderr` or `system`); published soon, in order."""
        ...


class DeploymentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a step may know of a deployment, as frozen when it was accepted.

    Attributes:
        site: worker name, the first label of the public host name.
        source: digest of the source tree's manifest, "" while it is to be fetched or when there is none.
        origin: where the source comes from.
        settings: overrides of the build plan: rootDirectory, installCommand, buildCommand,
            outputDirectory, each text; absent = detect.
        project_active: whether the project may be deployed now.
        outcome: decided outcome, or None.
    """

    id: str
    project_id: str
    organization_id: str
    site: str
    target: str
    source: str
    origin: SourceOrigin = SourceOrigin()
    settings: dict[str, str]
    project_active: bool
    outcome: str | None


class StepRecords(Protocol):
    """The narrow view of the database that steps have."""

    async def deployment(self, deployment_id: str) -> DeploymentRecord | None:
        """Return the deployment, or None."""
        ...

    async def freeze_source(self, deployment_id: str, tree: SourceTree) -> str:
        """Record what was fetched for a deployment, once; return the digest of the manifest that counts."""
        ...

    async def build_variables(self, deployment_id: str) -> dict[str, str]:
        """Return the environment variables frozen for this deployment's build."""
        ...

    async def insert_release(self, deployment_id: str, artifact: str, manifest: Manifest) -> str:
        """Insert the deployment's release once; return its id, the same at every call."""
        ...

    def keeping_blobs(self) -> AbstractAsyncContextManager[object]:
        """Let no blob be removed for the length of a block."""
        ...

    async def point_to(self, deployment_id: str, release: str) -> str:
        """Flip the site's pointer, guarded.

        Answers `pointed`, or why not: `ended` (or the claim is lost), `locked`, `overtaken` (by a rollback).
        """
        ...

    async def free(self, deployment_id: str) -> None:
        """Give back the claim and the slot of a deployment that has ended."""
        ...


class Ports(msgspec.Struct, frozen=True):
    """All a step's handler may use in one attempt.

    Attributes:
        attempt: which attempt of the step this is, from 1, over all epochs.
        fence: what commands to the sandbox carry.
    """

    records: StepRecords
    objects: Objects
    sandboxes: Sandboxes
    publishers: Mapping[str, Publisher]
    log: StepLog
    settings: Settings
    fence: Fence
    attempt: int
