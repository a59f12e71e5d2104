"""Static files on Cloudflare: named by a hash, and only those uploaded that it does not have."""

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from blake3 import blake3

from shared.adapters.publishers.cloudflare.api import CloudflareApi, CloudflareRefusal, Part
from shared.blobs import load
from shared.contracts.errors import ZepidError
from shared.media_types import content_type_of, extension_of
from shared.ports import Entry, Objects

PARALLEL_UPLOADS = 3
UPLOAD_TRIES = 5
PARALLEL_READS = 16
MOST_HASHES = 200_000
"""Hashes remembered by one process; the oldest are forgotten."""
NO_TYPE = "application/null"


class TokenExpired(Exception):
    """An upload token is no longer taken: the session is to be started again; what was uploaded stays."""


class Asset(NamedTuple):
    """A file as Cloudflare names it."""

    path: str
    entry: Entry
    hash: str


def hash_of(data: bytes, path: str) -> str:
    """Return Cloudflare's hash of a file, which depends on its extension."""
    return blake3(base64.b64encode(data) + extension_of(path).encode()).hexdigest()[:32]


class Hashes:
    """Hashes of blobs, worked out once in a process."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[tuple[str, str], str] = {}
        self._reading = asyncio.Semaphore(PARALLEL_READS)

    async def of(self, files: Mapping[str, Entry]) -> list[Asset]:
        """Return the assets of a release; blobs that are new here are read."""
        hashes = await asyncio.gather(*(self._of(path, entry) for path, entry in files.items()))
        return [Asset(path, entry, digest) for (path, entry), digest in zip(files.items(), hashes, strict=True)]

    async def _of(self, path: str, entry: Entry) -> str:
        key = (entry.digest, extension_of(path))
        if key not in self._known:
            async with self._reading:
                data = await load(self._objects, entry.digest, path)
            self._known[key] = await asyncio.to_thread(hash_of, data, path)
            if len(self._known) > MOST_HASHES:
                del self._known[next(iter(self._known))]
        return self._known[key]


class Session(msgspec.Struct, frozen=True):
    """An upload as Cloudflare begins it: its token, and what is missing; nothing missing: the token completes it."""

    jwt: str
    buckets: list[list[str]] = []

    @property
    def missing(self) -> int:
        """How many files are to be uploaded."""
        return sum(map(len, self.buckets))


class Uploaded(NamedTuple):
    """A finished upload: the token that attaches it to a script, and how many files were sent."""

    jwt: str
    sent: int


async def upload_assets(api: CloudflareApi, objects: Objects, script: str, assets: Sequence[Asset]) -> Uploaded:
    """Upload what is missing and return the token that attaches all assets to the script.

    Args:
        api: the account.
        objects: the bucket with the blobs.
        script: path of the script in the API.
        assets: all of the release.

    Raises:
        TokenExpired: start again.
        ZepidError: what the API and the bucket raise.
    """
    manifest = {f"/{asset.path}": {"hash": asset.hash, "size": asset.entry.size} for asset in assets}
    answer = await api.call("POST", f"{script}/assets-upload-session", json={"manifest": manifest})
    session = msgspec.convert(answer, Session)
    if not session.missing:
        return Uploaded(session.jwt, 0)
    completion = await _send_all(api, objects, session, {asset.hash: asset for asset in assets})
    if not completion:
        raise ZepidError("PUBLISH_FAILED", "Cloudflare took every file and did not say that the upload is complete")
    return Uploaded(completion, session.missing)


async def _send_all(api: CloudflareApi, objects: Objects, session: Session, by_hash: Mapping[str, Asset]) -> str:
    """Upload the session's buckets, a few at a time; return the completion token, "" if none came."""
    uploading = asyncio.Semaphore(PARALLEL_UPLOADS)

    async def send(bucket: list[str]) -> str:
        async with uploading:
            return await _send(api, objects, session.jwt, [by_hash[digest] for digest in bucket])

    sending = [asyncio.create_task(send(bucket)) for bucket in session.buckets]
    try:
        return next(filter(None, await asyncio.gather(*sending)), "")
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


async def _send(api: CloudflareApi, objects: Objects, token: str, bucket: list[Asset]) -> str:
    """Upload one bucket; return the completion token if this was the last one, else ""."""
    parts: list[Part] = []
    for asset in bucket:
        data = base64.b64encode(await load(objects, asset.entry.digest, asset.path))
        parts.append((asset.hash, (asset.hash, data, content_type_of(asset.path) or NO_TYPE)))
    path = f"{api.account}/workers/assets/upload?base64=true"
    try:
        answer = await api.call("POST", path, parts=parts, token=token, first_pause=1.0, tries=UPLOAD_TRIES)
    except CloudflareRefusal as refusal:
        if refusal.is_unauthorized or is_expired(token):
            raise TokenExpired from refusal
        raise
    return (answer or {}).get("jwt") or ""


def is_expired(token: str) -> bool:
    """Whether a token says that its time is over."""
    return _expiry(token) <= time.time()


def _expiry(token: str) -> float:
    """Return when a token ends, seconds since 1970; never if it does not say."""
    body = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims: Any = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError, msgspec.DecodeError):
        return float("inf")
