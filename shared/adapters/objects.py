"""Buckets of bytes: a folder, S3, or memory, all through obstore."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, GenericError
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store

from shared.contracts.errors import ZepidError
from shared.ports import Objects, Stat
from shared.settings import InvalidSettings

ARTIFACTS = "libra-deployment-artifacts"
"""The bucket of sources and built outputs: blobs and manifests."""
LOGS = "libra-deployment-logs"
"""The bucket of archived logs."""

CHUNK_BYTES = 256 << 10
"""How much of an object is read at a time."""

S3_TIMEOUT = timedelta(seconds=30)
S3_RETRIES = 3


def open_objects(url: str, bucket: str) -> Objects:
    """Open one bucket of the object store that `OBJECT_STORE_URL` names.

    Args:
        url: `file:///folder` (buckets are folders in it, made when missing; `file://folder` is
            relative), `memory:` (empty at every call), `s3://name/prefix` (the S3 bucket `name`;
            ours are folders in it) or `s3://` (ours are S3 buckets of the same name). Access to S3
            comes from the standard `AWS_*` variables; query parameters win over them
            (`s3://?endpoint=http://127.0.0.1:9000&region=eu-central-1`).
        bucket: `ARTIFACTS` or `LOGS`.

    Raises:
        InvalidSettings: the address is of no known kind, or a parameter of it is not known.
    """
    scheme = url.partition(":")[0]
    if (folder := local_folder(url)) is not None:
        root = (folder / bucket).resolve()
        return _Bucket(LocalStore(root, mkdir=True), root)
    if scheme == "s3":
        return _Bucket(_s3(url, bucket))
    if scheme == "memory":
        return _Bucket(MemoryStore())
    raise InvalidSettings(f"OBJECT_STORE_URL must begin with file://, s3:// or memory:, not {scheme}:")


def local_folder(url: str) -> Path | None:
    """Return the folder that an object store of this address is, None where it is none."""
    return Path(unquote(url.removeprefix("file://"))) if url.startswith("file:") else None


def _s3(url: str, bucket: str) -> S3Store:
    parts = urlsplit(url)
    config: Any = dict(parse_qsl(parts.query))
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    endpoint = config.get("endpoint") or next((os.environ[name] for name in names if os.environ.get(name)), "")
    prefix = "/".join(part for part in (parts.path.strip("/"), bucket) if part) if parts.netloc else None
    try:
        return S3Store(
            parts.netloc or bucket,
            prefix=prefix,
            config=config or None,
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": S3_TIMEOUT},
            retry_config={"max_retries": S3_RETRIES, "retry_timeout": S3_TIMEOUT},
        )
    except BaseError as error:
        reason = str(error).partition("\n")[0]
        raise InvalidSettings(f"OBJECT_STORE_URL is not usable for S3: {reason}") from None


class _Bucket:
    """One bucket; `root` is its folder where the store is one."""

    def __init__(self, store: ObjectStore, root: Path | None = None) -> None:
        self._store = store
        self._root = root

    async def get(self, key: str) -> bytes | None:
        try:
            self._check(key)
            answer = await obstore.get_async(self._store, key)
            return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError, ValueError) as error:
            raise _read_failed(key, error) from error

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[memoryview]:
        left = end - start
        try:
            self._check(key)
            answer = await obstore.get_async(self._store, key, options={"range": (start, end)})
            async for chunk in answer.stream(min_chunk_size=CHUNK_BYTES):
                left -= len(chunk)
                yield memoryview(chunk)
        except (BaseError, OSError, ValueError) as error:
            raise _read_failed(key, error) from error
        if left:
            raise _read_failed(key, ValueError(f"it ends {left} bytes too early"))

    def open(self, key: str) -> BinaryIO | None:
        if self._root is None:
            return None
        try:
            self._check(key)
            return (self._root / key).open("rb", buffering=0)
        except (OSError, ValueError) as error:
            raise _read_failed(key, error) from error

    async def put(self, key: str, data: bytes) -> None:
        try:
            self._check(key)
            await obstore.put_async(self._store, key, data)
        except (BaseError, OSError, ValueError) as error:
            raise _write_failed(key, error) from error

    async def exists(self, key: str) -> bool:
        try:
            self._check(key)
            await obstore.head_async(self._store, key)
        except FileNotFoundError:
            return False
        except (BaseError, OSError, ValueError) as error:
            raise _read_failed(key, error) from error
        return True

    async def delete(self, key: str) -> None:
        try:
            self._check(key)
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)
        except (BaseError, OSError, ValueError) as error:
            raise _write_failed(key, error) from error

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        async for stat in self.stats(prefix):
            yield stat.key

    async def stats(self, prefix: str) -> AsyncIterator[Stat]:
        try:
            async for page in obstore.list(self._store, prefix=prefix.rstrip("/") or None):
                for found in page:
                    if not self._leads_out(found["path"]):
                        yield Stat(found["path"], found["size"], found["last_modified"].timestamp())
        except (BaseError, OSError, ValueError) as error:
            raise _read_failed(prefix, error) from error

    def _check(self, key: str) -> None:
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise ValueError("the key is not a plain relative path")
        if self._leads_out(key):
            raise ValueError("a link stands in its way")

    def _leads_out(self, key: str) -> bool:
        """Whether a symlink lies on the way: obstore would follow it out of the bucket."""
        if self._root is None:
            return False
        path = os.path.join(self._root, key)  # noqa: PTH118 - on every access, and pathlib takes three times as long
        return os.path.realpath(path) != path


def _read_failed(key: str, error: Exception) -> ZepidError:
    return ZepidError("STORAGE_READ_FAILED", f"the object store could not read {key!r}: {_cause(error)}")


def _write_failed(key: str, error: Exception) -> ZepidError:
    return ZepidError("STORAGE_WRITE_FAILED", f"the object store could not write {key!r}: {_cause(error)}")


def _cause(error: Exception) -> str:
    """Return the cause in a few words; obstore's own text names folders and addresses of the host."""
    text = str(error).partition("\n")[0]
    if number := re.search(r"\(os error (\d+)\)", text):
        return os.strerror(int(number[1]))
    if status := re.search(r"\b[45]\d\d [A-Z][A-Za-z ]+", text):
        return status[0]
    if isinstance(error, ValueError):
        return text
    return "it does not answer" if type(error) is GenericError else type(error).__name__
