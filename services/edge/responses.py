"""How a file is sent: type, caching, encoding."""

import asyncio
import gzip
import re
from functools import lru_cache
from typing import NamedTuple

import brotli  # type: ignore[import-untyped]
import zstandard

from shared.media_types import content_type_of, media_type_of

Headers = list[tuple[bytes, bytes]]

SMALLEST_COMPRESSED = 512
"""Bytes below which compressing does not pay."""
BROTLI_QUALITY = 5
ZSTD_LEVEL = 9
GZIP_LEVEL = 6
REVALIDATE = b"public, max-age=0, must-revalidate"
IMMUTABLE = b"public, max-age=31536000, immutable"

_COMPRESSIBLE = re.compile(
    r"text/.+|.+\+(json|xml)|application/(json|json5|javascript|xml|xhtml\+xml|wasm|yaml|toml|sql|x-sh|postscript|rtf)"
    r"|font/(ttf|otf|collection)|image/(bmp|svg\+xml|vnd\.microsoft\.icon|x-icon)|model/gltf-binary"
)

_HASHED = re.compile(r"(?:^|/)assets/(?:.*/)?[^/]*[.-](?P<hash>[A-Za-z0-9_-]{8}|[0-9a-f]{9,64})(?:\.[A-Za-z0-9]+)+$")
_VERSIONED = re.compile(r"[.-](?P<hash>[A-Za-z0-9_-]{8}|[0-9a-f]{9,64})(?:\.[A-Za-z0-9]+)+$")
_VERSIONED_FOLDERS = ("_next/static/", "_app/immutable/")
_WORD_AND_NUMBER = re.compile(r"[_-]*(?:[A-Z]?[a-z]*|[A-Z]*)[_-]?[0-9]*")


class Kind(NamedTuple):
    """What a path tells about its file: its `Content-Type`, b"" when the extension is unknown."""

    content_type: bytes
    compressible: bool
    hashed: bool


@lru_cache(maxsize=4096)
def kind_of(path: str) -> Kind:
    """Return the kind of the file at a path of a release."""
    compressible = _COMPRESSIBLE.fullmatch(media_type_of(path) or "") is not None
    return Kind((content_type_of(path) or "").encode(), compressible, is_hashed(path))


def is_hashed(path: str) -> bool:
    """Whether the name carries a hash of the content, as bundlers write it: `assets/index-B7xK2_ab.js`.

    Eight characters that read as a word, a number or both (`team-portrait.jpg`, `IMG-20240115.png`)
    are no hash: such a file may change under its name.
    """
    found = _HASHED.search(path)
    return found is not None and _WORD_AND_NUMBER.fullmatch(found["hash"]) is None


@lru_cache(maxsize=4096)
def is_versioned(path: str) -> bool:
    """Whether a changed content would have got another path: the name has a hash, in whatever folder.

    Less strict than `is_hashed`, for such a file is only looked for where the release has none.
    """
    found = _VERSIONED.search(path.rpartition("/")[2])
    hashed = found is not None and _WORD_AND_NUMBER.fullmatch(found["hash"]) is None
    return hashed or path.startswith(_VERSIONED_FOLDERS)


@lru_cache(maxsize=512)
def encoding_for(accept_encoding: bytes) -> bytes:
    """Choose `br`, `zstd`, `gzip` or "" (as it is) for a request's `Accept-Encoding`: the one it likes best."""
    weights: dict[str, float] = {}
    for part in accept_encoding.decode("latin-1").lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = _weight(parameter)
    anything = weights.get("*", 0.0)
    best = max(ENCODINGS, key=lambda encoding: weights.get(encoding, anything))
    weight = weights.get(best, anything)
    return best.encode() if weight > 0 and weight >= weights.get("identity", 0.0) else b""


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


async def compress(data: bytes, encoding: bytes) -> bytes:
    """Compress in a thread; the same bytes give the same result."""
    return await asyncio.to_thread(ENCODINGS[encoding.decode()], data)


def _brotli(data: bytes) -> bytes:
    compressed: bytes = brotli.compress(data, quality=BROTLI_QUALITY)
    return compressed


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(ZSTD_LEVEL).compress(data)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, GZIP_LEVEL, mtime=0)


ENCODINGS = {"br": _brotli, "zstd": _zstd, "gzip": _gzip}
"""What a file can be sent in; the first of those liked equally is taken."""


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Whether the client holds this version already (weak comparison)."""
    tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
    return etag in tags or b"*" in tags
