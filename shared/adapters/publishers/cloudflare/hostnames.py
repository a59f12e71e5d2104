"""Custom host names: asked for, looked at until they are active, removed."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

import msgspec

from shared.adapters.publishers.cloudflare.api import CloudflareApi, CloudflareRefusal
from shared.contracts.errors import ZepidError
from shared.settings import Settings

State = Literal["pending", "verified", "active", "failed"]

_SSL = {"method": "txt", "type": "dv"}
_DUPLICATE = 1406
_VERIFIED = frozenset({"active", "active_redeploying", "provisioned"})
_FAILED = frozenset({"blocked", "deleted", "moved", "pending_blocked", "pending_deletion"})
_SSL_FAILED = ("_timed_out", "expired", "deleted")


class Record(msgspec.Struct, frozen=True):
    """A TXT record by which the owner proves that a host name is theirs, to Cloudflare or to who makes certificates."""

    name: str
    value: str


class Hostname(NamedTuple):
    """A custom host name.

    Attributes:
        id: Cloudflare's.
        state: pending (the owner has to set the record), verified (the certificate is made), active or failed.
        records: what the owner has to set.
        status: Cloudflare's own word for the state,
        ssl: and for that of the certificate.
    """

    id: str
    hostname: str
    state: State
    records: tuple[Record, ...]
    status: str
    ssl: str


class _Validation(msgspec.Struct, frozen=True):
    txt_name: str = ""
    txt_value: str = ""


class _Ssl(msgspec.Struct, frozen=True):
    status: str = ""
    validation_records: tuple[_Validation, ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    id: str
    hostname: str
    status: str = "pending"
    ssl: _Ssl = _Ssl()
    ownership_verification: Record | None = None


class CustomHostnames:
    """The custom host names of the zone in `CLOUDFLARE_ZONE_ID`.

    Raises:
        ZepidError: PUBLISH_TARGET_MISSING, no zone is configured; PUBLISH_… as every call.
    """

    def __init__(self, api: CloudflareApi, settings: Settings) -> None:
        if not settings.cloudflare_zone_id:
            raise ZepidError("PUBLISH_TARGET_MISSING", "CLOUDFLARE_ZONE_ID is not set: there are no custom host names")
        self._api = api
        self._path = f"/zones/{settings.cloudflare_zone_id}/custom_hostnames"

    async def create(self, hostname: str) -> Hostname:
        """Ask for a host name; one that was asked for before is returned as it is now."""
        try:
            answer = await self._api.call("POST", self._path, json={"hostname": hostname, "ssl": _SSL})
        except CloudflareRefusal as refusal:
            if refusal.reason == _DUPLICATE and (known := await self.find(hostname)) is not None:
                return known
            raise
        return _hostname(answer)

    async def find(self, hostname: str) -> Hostname | None:
        """Return the host name if it was asked for."""
        answers = await self._api.call("GET", f"{self._path}?{urlencode({'hostname': hostname})}")
        return next((_hostname(answer) for answer in answers if answer["hostname"] == hostname), None)

    async def get(self, id: str) -> Hostname | None:
        """Look at a host name again; None if it is gone."""
        try:
            return _hostname(await self._api.call("GET", f"{self._path}/{id}"))
        except CloudflareRefusal as refusal:
            if refusal.is_missing:
                return None
            raise

    async def delete(self, id: str) -> None:
        """Remove a host name; fine if it is gone."""
        try:
            await self._api.call("DELETE", f"{self._path}/{id}")
        except CloudflareRefusal as refusal:
            if not refusal.is_missing:
                raise


def _hostname(answer: Any) -> Hostname:
    read = msgspec.convert(answer, _Answer)
    state = _state(read.status, read.ssl.status)
    return Hostname(read.id, read.hostname, state, tuple(_records(read)), read.status, read.ssl.status)


def _records(read: _Answer) -> Iterator[Record]:
    if read.ownership_verification and read.status not in _VERIFIED:
        yield read.ownership_verification
    for validation in read.ssl.validation_records:
        if validation.txt_name and read.ssl.status != "active":
            yield Record(validation.txt_name, validation.txt_value)


def _state(status: str, ssl: str) -> State:
    if status in _FAILED or ssl.endswith(_SSL_FAILED):
        return "failed"
    if status not in _VERIFIED:
        return "pending"
    return "active" if ssl == "active" else "verified"
