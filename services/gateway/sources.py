"""Source trees: checked, stored as blobs and a manifest, recorded as snapshots."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, closing
from typing import BinaryIO

import msgspec

from services.gateway.archive import SourceFile, batches_in
from services.gateway.archive_members import refused
from services.gateway.ports import GatewayPorts
from shared.adapters.postgres.projects import ProjectRow
from shared.blobs import file_above, safe_path, store_all, store_manifest
from shared.ports import Entry, Manifest
from shared.source_rules import MAX_FILE_BYTES, MAX_FILES, is_synced

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class SourceBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the service has of a tree; `snapshot_id` once nothing is missing."""

    missing: list[str]
    files: int
    total_bytes: int
    snapshot_id: str | None = None


class BundleBody(msgspec.Struct, frozen=True, rename="camel"):
    """What a bundle brought."""

    files: int
    total_bytes: int


def is_digest(text: str) -> bool:
    """Whether this is a BLAKE3 digest in lower-case hex."""
    return bool(_DIGEST.fullmatch(text))


def checked_tree(files: Mapping[str, Entry]) -> Manifest:
    """Return the tree without what is never synced.

    Raises:
        ZepidError: SOURCE_INVALID, naming the first file that cannot be taken.
    """
    synced = {safe_path(path): entry for path, entry in sorted(files.items()) if is_synced(path)}
    if len(synced) > MAX_FILES:
        raise refused(f"the tree has {len(synced)} files; it may have {MAX_FILES}")
    for path, entry in synced.items():
        if not is_digest(entry.digest):
            raise refused(f"{path}: the digest must be a BLAKE3 of 64 lower-case hex digits")
        if not 0 <= entry.size <= MAX_FILE_BYTES:
            raise refused(f"{path}: has {entry.size} bytes; a file may have {MAX_FILE_BYTES}")
        if folder := file_above(path, synced):
            raise refused(f"{path}: {folder} is a file, so nothing can be below it")
    return Manifest({path: _with_plain_mode(entry) for path, entry in synced.items()})


async def offer_tree(ports: GatewayPorts, project: ProjectRow, tree: Manifest) -> SourceBody:
    """Record a tree as the project's source, or say which blobs its organisation has yet to upload.

    Raises:
        ZepidError: SOURCE_INVALID, a file is said to have another size than its blob.
    """
    digests = dict.fromkeys(entry.digest for entry in tree.files.values())
    sizes = await ports.projects.blob_sizes(project.organization_id, digests)
    missing = [digest for digest in digests if digest not in sizes]
    for path, entry in tree.files.items():
        if sizes.get(entry.digest, entry.size) != entry.size:
            raise refused(f"{path}: said to have {entry.size} bytes; its blob has {sizes[entry.digest]}")
    snapshot_id = None if missing else await _record(ports, project, tree)
    if snapshot_id is None and not missing:
        return await offer_tree(ports, project, tree)
    return SourceBody(missing=missing, files=len(tree.files), total_bytes=tree.total_bytes, snapshot_id=snapshot_id)


async def store_upload(ports: GatewayPorts, organization_id: str, blobs: list[bytes]) -> list[str]:
    """Store what an organisation brings, and note that it did: so it stays until its tree can be recorded.

    Returns the digests in the given order.
    """
    async with ports.projects.keeping_blobs() as held:
        digests = await store_all(ports.artifacts, blobs)
        sizes = {digest: len(data) for digest, data in zip(digests, blobs, strict=True)}
        await ports.projects.record_blobs(organization_id, sizes, held)
    return digests


async def unpack(ports: GatewayPorts, project: ProjectRow, archive: BinaryIO) -> SourceBody:
    """Record the files of a tar.gz or zip as the project's source; raises SOURCE_INVALID."""
    entries = {
        file.path: Entry(digest, len(file.data), file.mode)
        async for file, digest in _stored(ports, project.organization_id, archive)
    }
    return await offer_tree(ports, project, checked_tree(entries))


async def store_bundle(ports: GatewayPorts, organization_id: str, archive: BinaryIO) -> BundleBody:
    """Store the files of a tar.gz or zip, each named by the digest of its bytes; raises SOURCE_INVALID."""
    files = total_bytes = 0
    async with aclosing(_stored(ports, organization_id, archive)) as stored:
        async for file, digest in stored:
            if file.path != digest:
                raise refused(f"{file.path}: is not the BLAKE3 digest of its bytes, {digest}")
            files += 1
            total_bytes += len(file.data)
    return BundleBody(files=files, total_bytes=total_bytes)


async def _stored(
    ports: GatewayPorts, organization_id: str, archive: BinaryIO
) -> AsyncGenerator[tuple[SourceFile, str], None]:
    """Store what a hostile archive holds; yield each file with its digest."""
    with closing(batches_in(archive)) as batches:
        while batch := await asyncio.to_thread(next, batches, None):
            digests = await store_upload(ports, organization_id, [file.data for file in batch])
            for stored in zip(batch, digests, strict=True):
                yield stored


async def _record(ports: GatewayPorts, project: ProjectRow, tree: Manifest) -> str | None:
    """Record a tree whose blobs were all there a moment ago; None when some have been removed since."""
    wanted = {entry.digest for entry in tree.files.values()}
    async with ports.projects.keeping_blobs() as held:
        if wanted - (await ports.projects.blob_sizes(project.organization_id, wanted, held)).keys():
            return None
        digest = await store_manifest(ports.artifacts, tree)
        return await ports.projects.record_snapshot(project.id, project.organization_id, digest, tree, held)


def _with_plain_mode(entry: Entry) -> Entry:
    return Entry(entry.digest, entry.size, 0o755 if entry.mode & 0o100 else 0o644)
