"""The bytes of files: small ones and compressed ones from memory, large ones as they come from the object store."""

import os
from collections.abc import AsyncIterator
from typing import BinaryIO

from blake3 import blake3

from services.edge.cache import Cache
from services.edge.ranges import Part
from services.edge.responses import compress
from shared import blobs
from shared.contracts.errors import ZepidError
from shared.ports import Entry, Objects

STREAMED_FROM = 1 << 20
"""Bytes from which a file that is not compressed is streamed."""
MEMORY_BYTES = 64 << 20
"""Bytes of files, as they are and compressed, kept in memory."""
_A_FILE = "a file of the site"
_MOST_PROVED = 100_000

Chunk = bytes | memoryview


class Contents:
    """Reads blobs. What is sent has the digest that names it, or the connection is cut before its last byte."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._kept: Cache[tuple[str, bytes], bytes] = Cache(MEMORY_BYTES, lambda body: 200 + len(body))
        self._proved: set[str] = set()

    async def whole(self, digest: str, encoding: bytes) -> bytes:
        """Return all bytes of a file, compressed if there is an encoding.

        Raises:
            ZepidError: STORAGE_READ_FAILED.
        """

        async def load() -> bytes:
            if not encoding:
                return await blobs.load(self._objects, digest, _A_FILE)
            return await compress(await self.whole(digest, b""), encoding)

        return await self._kept.get((digest, encoding), load) or b""

    def opened(self, entry: Entry) -> BinaryIO | None:
        """Return a large file as an open one, if it lies on this host and its bytes were proved before.

        Raises:
            ZepidError: STORAGE_READ_FAILED.
        """
        file = self._objects.open(blobs.key_of(entry.digest)) if entry.digest in self._proved else None
        if file and os.fstat(file.fileno()).st_size != entry.size:
            file.close()
            raise _damaged(entry.digest)
        return file

    async def streamed(self, entry: Entry, part: Part | None) -> tuple[Chunk, AsyncIterator[Chunk]]:
        """Return the first bytes of a file or of a part that is not empty, and the others as they come.

        Raises:
            ZepidError: STORAGE_READ_FAILED; later from the iterator, when the blob turns out to be damaged.
        """
        start, end = part or (0, entry.size)
        chunks: AsyncIterator[Chunk] = self._objects.read(blobs.key_of(entry.digest), start, end)
        if part is None and entry.digest not in self._proved:
            chunks = self._proving(entry.digest, chunks)
        return await anext(chunks), chunks

    async def _proving(self, digest: str, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        """Yield the chunks of a whole file, the last one when all of them have its digest; once is enough."""
        held: Chunk = b""
        proof = blake3()
        async for chunk in chunks:
            if held:
                yield held
            proof.update(chunk)
            held = chunk
        if proof.hexdigest() != digest:
            raise _damaged(digest)
        if len(self._proved) >= _MOST_PROVED:
            self._proved.clear()
        self._proved.add(digest)
        yield held


def _damaged(digest: str) -> ZepidError:
    return ZepidError("STORAGE_READ_FAILED", f"{_A_FILE} is damaged in the object store (blob {digest})")
