"""How a file is sent: type, caching, encoding."""

import asyncio
import gzip
import re
from functools import lru_cache
from typing import NamedTuple

import brotli  # type: ignore[import-untyped]

Headers = list[tuple[bytes, bytes]]

SMALLEST_COMPRESSED = 512
"""Bytes below which compressing does not pay."""
BROTLI_QUALITY = 5
GZIP_LEVEL = 6
REVALIDATE = b"public, max-age=0, must-revalidate"
IMMUTABLE = b"public, max-age=31536000, immutable"

_TEXT = {
    "html": "text/html",
    "htm": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "cjs": "text/javascript",
    "json": "application/json",
    "map": "application/json",
    "webmanifest": "application/manifest+json",
    "xml": "text/xml",
    "rss": "application/rss+xml",
    "atom": "application/atom+xml",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "ics": "text/calendar",
    "vtt": "text/vtt",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}
_BINARY_WORTH_COMPRESSING = {
    "wasm": "application/wasm",
    "ico": "image/vnd.microsoft.icon",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "bmp": "image/bmp",
    "glb": "model/gltf-binary",
}
_BINARY = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "pdf": "application/pdf",
    "zip": "application/zip",
    "gz": "application/gzip",
}

_HASHED = re.compile(r"(?:^|/)assets/(?:.*/)?[^/]*[.-](?P<hash>[A-Za-z0-9_-]{8}|[0-9a-f]{9,64})(?:\.[A-Za-z0-9]+)+$")
_VERSIONED = re.compile(r"[.-](?P<hash>[A-Za-z0-9_-]{8}|[0-9a-f]{9,64})(?:\.[A-Za-z0-9]+)+$")
_VERSIONED_FOLDERS = ("_next/static/", "_app/immutable/")
_WORD_AND_NUMBER = re.compile(r"[_-]*(?:[A-Z]?[a-z]*|[A-Z]*)[_-]?[0-9]*")


class Kind(NamedTuple):
    """What a path tells about its file."""

    content_type: bytes
    compressible: bool
    hashed: bool


@lru_cache(maxsize=4096)
def kind_of(path: str) -> Kind:
    """Return the kind of the file at a path of a release."""
    extension = path.rpartition("/")[2].rpartition(".")[2].lower()
    if text := _TEXT.get(extension):
        return Kind(f"{text}; charset=utf-8".encode(), True, is_hashed(path))
    binary = _BINARY_WORTH_COMPRESSING.get(extension)
    content_type = binary or _BINARY.get(extension, "application/octet-stream")
    return Kind(content_type.encode(), binary is not None, is_hashed(path))


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
    """Choose `br`, `gzip` or "" (as it is) for a request's `Accept-Encoding`."""
    weights: dict[str, float] = {}
    for part in accept_encoding.decode("latin-1").lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = _weight(parameter)
    anything = weights.get("*", 0.0)
    brotli_weight, gzip_weight = weights.get("br", anything), weights.get("gzip", anything)
    if max(brotli_weight, gzip_weight) <= 0:
        return b""
    return b"br" if brotli_weight >= gzip_weight else b"gzip"


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


async def compress(data: bytes, encoding: bytes) -> bytes:
    """Compress in a thread; the same bytes give the same result."""
    if encoding == b"br":
        compressed: bytes = await asyncio.to_thread(brotli.compress, data, quality=BROTLI_QUALITY)
        return compressed
    return await asyncio.to_thread(gzip.compress, data, GZIP_LEVEL, mtime=0)


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Whether the client holds this version already (weak comparison)."""
    tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
    return etag in tags or b"*" in tags
