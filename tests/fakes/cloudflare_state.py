"""What the fake Cloudflare keeps: assets, sessions, scripts, host names; and its rules for them."""

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

MAX_FILES = 20_000
MAX_FILE_BYTES = 25 * 2**20
MAX_BUCKET_BYTES = 40 * 2**20
MAX_BUCKET_FILES = 250
TOKEN_SECONDS = 3600.0
HASH = re.compile(r"[0-9a-f]{32}")
MEDIA_TYPE = re.compile(r"[a-z-]+/[a-z0-9._+-]+(; charset=utf-8)?")
HTML_HANDLING = {"auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"}
NOT_FOUND_HANDLING = {"none", "404-page", "single-page-application"}
MODULE_TYPES = {
    *("application/javascript+module", "application/wasm", "application/octet-stream", "text/plain"),
    "application/source-map",
}
BINDING_FIELDS = {"assets": (), "plain_text": ("text",), "json": ("json",), "secret_text": ("text",)}


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: int, message: str, headers: Mapping[str, str] = {}) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers)


@dataclass(frozen=True)
class Part:
    """One part of a multipart body."""

    name: str
    filename: str | None
    content_type: str | None
    data: bytes


@dataclass(frozen=True)
class Asset:
    content_type: str
    data: bytes


@dataclass
class Script:
    """A script as it is in force."""

    metadata: dict[str, Any]
    modules: dict[str, tuple[str, bytes]]
    assets: dict[str, dict[str, Any]]
    secrets: dict[str, str] = field(default_factory=dict)
    subdomain: bool = False
    deployed: int = 1


@dataclass
class Session:
    """An upload that has begun."""

    script: str
    manifest: dict[str, dict[str, Any]]
    buckets: list[list[str]]
    remaining: set[str]


class Tokens:
    """Signed tokens with an expiry; a session's and a completion's are not the same thing.

    Attributes:
        lifetimes: seconds that the next tokens last; then all last an hour.
    """

    def __init__(self) -> None:
        self.lifetimes: list[float] = []

    def issue(self, kind: str, session: str) -> str:
        seconds = self.lifetimes.pop(0) if self.lifetimes else TOKEN_SECONDS
        claims = {"kind": kind, "session": session, "iat": time.time(), "exp": time.time() + seconds}
        head, body = (
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in ({"alg": "HS256"}, claims)
        )
        return f"{head}.{body}.{self._sign(f'{head}.{body}')}"

    def read(self, token: str, kind: str) -> str:
        """Return the session of a token of this kind."""
        signed, _, signature = token.rpartition(".")
        if not signed or not hmac.compare_digest(self._sign(signed), signature):
            raise Refused(401, 10000, "Authentication error")
        claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2]))
        if claims["kind"] != kind:
            raise Refused(403, 10000, f"Authentication error: not a {kind} token")
        if claims["exp"] <= time.time():
            raise Refused(401, 10000, "Authentication error: the token has expired")
        return str(claims["session"])

    def _sign(self, text: str) -> str:
        return hmac.new(b"fake", text.encode(), hashlib.sha256).hexdigest()


def check_manifest(manifest: Any) -> dict[str, dict[str, Any]]:
    """Refuse a manifest that Cloudflare would not take."""
    if not isinstance(manifest, dict):
        raise Refused(400, 10021, "manifest is missing")
    if len(manifest) > MAX_FILES:
        raise Refused(400, 10306, f"Too many assets: at most {MAX_FILES} are allowed")
    for path, entry in manifest.items():
        if not path.startswith("/") or set(entry) != {"hash", "size"} or not HASH.fullmatch(entry["hash"]):
            raise Refused(400, 10021, f"manifest entry {path} is malformed")
        if not 0 <= entry["size"] <= MAX_FILE_BYTES:
            raise Refused(400, 10307, f"Asset too large: {path}")
    return manifest


def buckets_of(missing: Mapping[str, int]) -> list[list[str]]:
    """Group hashes (with their sizes) into uploads of a bearable size."""
    buckets: list[list[str]] = []
    room = 0
    for digest, size in missing.items():
        if not buckets or size > room or len(buckets[-1]) >= MAX_BUCKET_FILES:
            buckets.append([])
            room = MAX_BUCKET_BYTES
        buckets[-1].append(digest)
        room -= size
    return buckets


def asset_of(part: Part, path: str, size: int) -> Asset:
    """Check one uploaded part against its hash: name, content type, base64, size, hash."""
    if part.filename != part.name:
        raise Refused(400, 10021, f"part {part.name} has another file name: {part.filename}")
    kind = part.content_type or ""
    if not MEDIA_TYPE.fullmatch(kind) or kind.startswith("text/") != kind.endswith("; charset=utf-8"):
        raise Refused(400, 10021, f"part {part.name} has the content type {kind!r}")
    try:
        data = base64.b64decode(part.data, validate=True)
    except binascii.Error:
        raise Refused(400, 10021, f"part {part.name} is not base64") from None
    extension = extension_of(path)
    if len(data) != size or blake3(part.data + extension.encode()).hexdigest()[:32] != part.name:
        raise Refused(400, 10021, f"part {part.name} is not the file its hash names")
    return Asset(kind, data)


def extension_of(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2] if "." in name[1:] else ""


def check_metadata(metadata: Any, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Refuse script metadata that Cloudflare would not take."""
    if not isinstance(metadata, dict):
        raise Refused(400, 10021, "metadata is missing or no JSON object")
    date = metadata.get("compatibility_date")
    if date is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise Refused(400, 10021, f"Can't set compatibility date {date}")
    main = metadata.get("main_module")
    if main is None and ("assets" not in metadata or parts or "bindings" in metadata):
        raise Refused(400, 10021, "No main module")
    if main is not None and (main not in parts or parts[main].content_type != "application/javascript+module"):
        raise Refused(400, 10021, f"No such module: {main}")
    for part in parts.values():
        if part.content_type not in MODULE_TYPES or part.filename != part.name:
            raise Refused(400, 10021, f"module {part.name} has the type {part.content_type}, file name {part.filename}")
    for binding in metadata.get("bindings", []):
        _check_binding(binding, metadata)
    _check_config(metadata.get("assets", {}).get("config", {}))
    return metadata


def _check_binding(binding: dict[str, Any], metadata: Mapping[str, Any]) -> None:
    kind = binding.get("type")
    if kind not in BINDING_FIELDS or set(binding) != {"name", "type", *BINDING_FIELDS[kind]}:
        raise Refused(400, 10021, f"binding {binding.get('name')} of type {kind} is malformed")
    if kind == "assets" and "assets" not in metadata:
        raise Refused(400, 10021, "an assets binding needs assets")


def _check_config(config: Mapping[str, Any]) -> None:
    known = {"html_handling", "not_found_handling", "run_worker_first", "_headers", "_redirects"}
    if unknown := set(config) - known:
        raise Refused(400, 10021, f"unknown asset configuration: {', '.join(sorted(unknown))}")
    if config.get("html_handling", "none") not in HTML_HANDLING:
        raise Refused(400, 10021, f"invalid html_handling: {config['html_handling']}")
    if config.get("not_found_handling", "none") not in NOT_FOUND_HANDLING:
        raise Refused(400, 10021, f"invalid not_found_handling: {config['not_found_handling']}")
