"""Content-addressed blobs over a bucket: `blobs/<blake3 hex>`; manifests are blobs too.

A blob is immutable and named by its bytes, so storing one twice is harmless and an unchanged tree
costs no upload.
"""

import asyncio
from collections.abc import Container, Iterable
from typing import NamedTuple

import msgspec
from blake3 import blake3

from shared.contracts.errors import ZepidError
from shared.ports import Manifest, Objects

MAX_PATH_BYTES = 1024
_PARALLEL = 16


class Stored(NamedTuple):
    """What became of a blob: its digest, and whether it was uploaded just now."""

    digest: str
    new: bool


def digest_of(data: bytes) -> str:
    """Return the BLAKE3 of the bytes, lower-case hex."""
    return blake3(data).hexdigest()


def key_of(digest: str) -> str:
    """Return the object key of a blob."""
    return f"blobs/{digest}"


async def add(objects: Objects, data: bytes) -> Stored:
    """Upload the bytes unless the bucket has them, and say which it was.

    Raises:
        ZepidError: STORAGE_READ_FAILED or STORAGE_WRITE_FAILED.
    """
    digest = digest_of(data)
    if await objects.exists(key_of(digest)):
        return Stored(digest, new=False)
    await objects.put(key_of(digest), data)
    return Stored(digest, new=True)


async def store(objects: Objects, data: bytes) -> str:
    """Upload the bytes unless the bucket has them; return their digest."""
    return (await add(objects, data)).digest


async def store_all(objects: Objects, blobs: Iterable[bytes]) -> list[str]:
    """Upload several at a time what the bucket lacks; return the digests in the given order."""
    waiting = iter(enumerate(blobs))
    digests: dict[int, str] = {}

    async def upload() -> None:
        for position, data in waiting:
            digests[position] = await store(objects, data)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_PARALLEL):
                group.create_task(upload())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [digests[position] for position in range(len(digests))]


async def load(objects: Objects, digest: str, what: str) -> bytes:
    """Return a blob's bytes, checked against its digest.

    Args:
        objects: the bucket.
        digest: the blob's name.
        what: what the blob is to people, for the error.

    Raises:
        ZepidError: STORAGE_READ_FAILED when it is missing or damaged.
    """
    data = await objects.get(key_of(digest))
    if data is None:
        raise ZepidError("STORAGE_READ_FAILED", f"{what} is missing from the object store (blob {digest})")
    if digest_of(data) != digest:
        raise ZepidError("STORAGE_READ_FAILED", f"{what} is damaged in the object store (blob {digest})")
    return data


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the one canonical encoding of a tree: JSON with sorted paths, so equal trees have one digest."""
    return msgspec.json.encode(Manifest(dict(sorted(manifest.files.items())), manifest.hosting))


async def store_manifest(objects: Objects, manifest: Manifest) -> str:
    """Store a manifest as a blob; return its digest, which names the tree."""
    return await store(objects, encode_manifest(manifest))


async def load_manifest(objects: Objects, digest: str) -> Manifest:
    """Return the manifest of that digest.

    Raises:
        ZepidError: STORAGE_READ_FAILED when it is missing, damaged or no manifest.
    """
    data = await load(objects, digest, "the manifest of a tree")
    try:
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise ZepidError("STORAGE_READ_FAILED", f"blob {digest} is not a manifest: {error}") from error


async def first_missing(objects: Objects, manifest: Manifest) -> str | None:
    """Return a blob of the tree, or its manifest, that the bucket does not have; None when it has them all."""
    digests = list(dict.fromkeys((digest_of(encode_manifest(manifest)), *manifest.digests)))
    for start in range(0, len(digests), _PARALLEL):
        some = digests[start : start + _PARALLEL]
        found = await asyncio.gather(*(objects.exists(key_of(digest)) for digest in some))
        if not all(found):
            return some[found.index(False)]
    return None


def safe_path(path: str) -> str:
    """Return the path if it is a clean relative POSIX path that stays inside its tree.

    Raises:
        ZepidError: SOURCE_INVALID, naming the path and what is wrong with it.
    """
    if fault := _fault(path):
        raise ZepidError("SOURCE_INVALID", f"the path {path[:200]!r} cannot be used: {fault}")
    return path


def file_above(path: str, files: Container[str]) -> str | None:
    """Return the outermost folder of a path that is itself a file of the tree, None when there is none."""
    at = path.find("/")
    while at >= 0:
        if path[:at] in files:
            return path[:at]
        at = path.find("/", at + 1)
    return None


def _fault(path: str) -> str:
    if not path:
        return "it is empty"
    if "\0" in path:
        return "it holds a NUL byte"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if size > MAX_PATH_BYTES:
        return f"it is longer than {MAX_PATH_BYTES} bytes"
    if path.startswith("/"):
        return "it is absolute"
    if any(segment in ("", ".", "..") for segment in path.split("/")):
        return "it has an empty, '.' or '..' segment"
    return ""
