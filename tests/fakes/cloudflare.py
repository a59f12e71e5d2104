"""Cloudflare's API as far as a deployment needs it: a real HTTP server that checks what it is sent.

What it enforces is what was observed of the real API; `wrangler deploy` succeeds against it too
(tests/e2e/test_wrangler_parity.py), which keeps it honest.
"""

import asyncio
import json
import re
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from tests.edge_world import serving
from tests.fakes.cloudflare_http import Call, Fault, answer, read
from tests.fakes.cloudflare_state import (
    Asset,
    Part,
    Refused,
    Script,
    Session,
    Tokens,
    asset_of,
    buckets_of,
    check_manifest,
    check_metadata,
)

ACCOUNT = "0123456789abcdef0123456789abcdef"
API_TOKEN = "api-token-sentinel-5f2b7c"
NAMESPACE = "sites"
ZONE = "fedcba9876543210fedcba9876543210"
MAX_SCRIPT_BYTES = 10 * 2**20
RATE_WINDOW = 300.0
BASE = "/client/v4"


class FakeCloudflare:
    """One account with one dispatch namespace and one zone.

    Attributes:
        scripts: by key, `namespace/name` or `/name` for one outside a namespace.
        stored: assets by script key and hash.
        calls: every request, in order.
        uploads_at_once: the most uploads of buckets that were ever served at the same time.
        sites_fail: every site answers 503.
    """

    def __init__(self) -> None:
        self.tokens = Tokens()
        self.scripts: dict[str, Script] = {}
        self.stored: dict[str, dict[str, Asset]] = {}
        self.hostnames: dict[str, dict[str, Any]] = {}
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.rate_limit = 1200
        self.port = 0
        self.uploads_at_once = 0
        self.sites_fail = False
        self.hostname_path = [("pending", "pending_validation"), ("active", "pending_deployment"), ("active", "active")]
        self._uploading = 0
        self._sessions: dict[str, Session] = {}
        self._recent: deque[float] = deque()
        self._routes = _routes(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{BASE}"

    @property
    def settings(self) -> dict[str, str]:
        """What our settings must say to use it."""
        return {
            "cloudflare_account_id": ACCOUNT,
            "cloudflare_api_token": API_TOKEN,
            "cloudflare_zone_id": ZONE,
            "dispatch_namespace_name": NAMESPACE,
            "cloudflare_api_url": self.url,
            "cloudflare_url": f"http://127.0.0.1:{self.port}/_sites/{{site}}",
        }

    def script(self, name: str, namespace: str = NAMESPACE) -> Script:
        return self.scripts[f"{namespace}/{name}"]

    def fail(self, pattern: str, status: int, **more: Any) -> None:
        """Let the next requests fail whose `METHOD path` the pattern matches."""
        self.faults.append(Fault(pattern, status, **more))

    def count(self, pattern: str) -> int:
        """How many requests had a `METHOD path` like this."""
        return sum(re.search(pattern, f"{call.method} {call.path}") is not None for call in self.calls)

    def blobs_uploaded(self) -> int:
        """How many files were sent in uploads that were accepted."""
        uploads = (
            call for call in self.calls if call.path.endswith("/workers/assets/upload") and call.status // 100 == 2
        )
        return sum(len(call.parts()) for call in uploads)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        call = await read(scope, receive)
        if call is None:
            return
        if call.path.startswith("/_sites/"):
            await answer(send, *self._visit(call.path.removeprefix("/_sites/")))
            return
        self.calls.append(call)
        headers: dict[str, str] = {}
        try:
            call.status, result = await self._answer(call)
            body = {"success": True, "errors": [], "messages": [], "result": result}
        except Refused as refused:
            call.status, headers = refused.status, refused.headers
            errors = [{"code": refused.code, "message": refused.message}]
            body = {"success": False, "errors": errors, "messages": [], "result": None}
        await answer(send, call.status, {"content-type": "application/json", **headers}, json.dumps(body).encode())

    def _visit(self, rest: str) -> tuple[int, dict[str, str], bytes]:
        """Answer as the site would: the asset, else the Worker. Of `_headers` only rules for every path are known."""
        name, _, path = rest.partition("/")
        key = next((key for key in self.scripts if key.endswith(f"/{name}")), None)
        if self.sites_fail:
            return 503, {}, b"error 1101"
        if key is None:
            return 404, {}, b"nothing is deployed here"
        script, status = self.scripts[key], 200
        asset = script.assets.get(f"/{path or 'index.html'}")
        if asset is None and script.modules:
            return 200, {}, b"the Worker says hello"
        if asset is None:
            status, asset = _stand_in(script, path)
        if asset is None:
            return 404, {}, b"no such asset"
        stored = self.stored[key][asset["hash"]]
        rules = re.findall(r"^/\*\n((?:[ \t]+.*\n?)+)", script.metadata["assets"]["config"].get("_headers", ""), re.M)
        headers = dict(line.strip().split(": ", 1) for rule in rules for line in rule.splitlines())
        return status, {"content-type": stored.content_type, **headers}, stored.data

    async def _answer(self, call: Call) -> tuple[int, Any]:
        self._limit_rate()
        faults = [fault for fault in self.faults if fault.takes(call)]
        if faults and not faults[0].after:
            raise faults[0].raised()
        routed = await self._route(call)
        if faults:
            raise faults[0].raised()
        return routed

    async def _route(self, call: Call) -> tuple[int, Any]:
        for method, pattern, handle in self._routes:
            found = re.fullmatch(BASE + pattern, call.path)
            if found and method == call.method:
                if handle == self.upload:
                    return await self.upload(call)
                if call.token != API_TOKEN:
                    raise Refused(403, 10000, "Authentication error")
                if found.groupdict().get("account", ACCOUNT) != ACCOUNT:
                    raise Refused(403, 10000, "Authentication error")
                result = handle(call, **{k: v for k, v in found.groupdict().items() if k != "account"})
                return 200, result
        raise Refused(404, 7003, f"Could not route to {call.path}, perhaps your object identifier is invalid?")

    def _limit_rate(self) -> None:
        now = time.monotonic()
        while self._recent and self._recent[0] < now - RATE_WINDOW:
            self._recent.popleft()
        if len(self._recent) >= self.rate_limit:
            raise Refused(429, 10429, "Rate limited. Please wait", {"Retry-After": "1"})
        self._recent.append(now)

    # tokens, namespaces

    def verify_token(self, call: Call) -> Any:
        return {"id": "f" * 32, "status": "active"}

    def get_namespace(self, call: Call, namespace: str) -> Any:
        if namespace != NAMESPACE:
            raise Refused(404, 10043, f"dispatch namespace {namespace} not found")
        return {"namespace_id": str(uuid4()), "namespace_name": namespace}

    # assets

    def open_session(self, call: Call, name: str, namespace: str = "") -> Any:
        if namespace:
            self.get_namespace(call, namespace)
        script = f"{namespace}/{name}"
        manifest = check_manifest(call.json().get("manifest"))
        sizes = {entry["hash"]: entry["size"] for entry in manifest.values()}
        have = self.stored.get(script, {})
        missing = {digest: size for digest, size in sizes.items() if digest not in have}
        session = Session(script, manifest, buckets_of(missing), set(missing))
        key = uuid4().hex
        self._sessions[key] = session
        return {"jwt": self.tokens.issue("session" if missing else "completion", key), "buckets": session.buckets}

    async def upload(self, call: Call) -> tuple[int, Any]:
        self._uploading += 1
        self.uploads_at_once = max(self.uploads_at_once, self._uploading)
        try:
            await asyncio.sleep(0.01)
            key = self.tokens.read(call.token, "session")
            if call.query.get("base64") != ["true"]:
                raise Refused(400, 10021, "only base64=true is understood")
            session = self._sessions[key]
            self._store(session, call.parts())
        finally:
            self._uploading -= 1
        if session.remaining:
            return 202, {}
        return 201, {"jwt": self.tokens.issue("completion", key)}

    def _store(self, session: Session, parts: list[Part]) -> None:
        if sorted(part.name for part in parts) not in [sorted(bucket) for bucket in session.buckets]:
            raise Refused(400, 10021, "the parts are not one of the session's buckets")
        stored = self.stored.setdefault(session.script, {})
        paths = {entry["hash"]: path for path, entry in session.manifest.items()}
        for part in parts:
            path = paths[part.name]
            stored[part.name] = asset_of(part, path, session.manifest[path]["size"])
            session.remaining.discard(part.name)

    # scripts

    def put_script(self, call: Call, name: str, namespace: str = "") -> Any:
        if namespace:
            self.get_namespace(call, namespace)
        parts = {part.name: part for part in call.parts()}
        form = parts.pop("metadata", None)
        if form is None or form.filename is not None:
            raise Refused(400, 10021, "there is no metadata field")
        if len(zlib.compress(b"".join(part.data for part in parts.values()), 6)) > MAX_SCRIPT_BYTES:
            raise Refused(413, 10027, "Your Worker exceeded the size limit of 10 MiB")
        metadata = check_metadata(json.loads(form.data), parts)
        key = f"{namespace}/{name}"
        assets = self._attached(key, metadata)
        kept = metadata.pop("keep_bindings", [])
        metadata.pop("code_update_strategy", None)
        before = self.scripts.get(key)
        script = Script(metadata, {part.name: (part.content_type or "", part.data) for part in parts.values()}, assets)
        script.secrets = _secrets(metadata, kept, before)
        script.deployed = before.deployed + 1 if before else 1
        script.subdomain = before.subdomain if before else False
        self.scripts[key] = script
        return {
            **{"id": name, "etag": uuid4().hex, "has_assets": bool(assets), "has_modules": bool(parts)},
            **{"startup_time_ms": 1, "handlers": ["fetch"], "deployment_id": uuid4().hex, "tags": metadata.get("tags")},
        }

    def _attached(self, key: str, metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
        if "assets" not in metadata:
            return {}
        session = self._sessions[self.tokens.read(metadata["assets"].pop("jwt", ""), "completion")]
        if session.script != key:
            raise Refused(403, 10000, "the assets were uploaded for another script")
        return session.manifest

    def get_script(self, call: Call, name: str, namespace: str = "") -> Any:
        script = self._found(name, namespace)
        tags = script.metadata.get("tags", [])
        return {"id": name, "script": {"id": name, "tags": tags}, "tags": tags, "created_on": "2026-01-01T00:00:00Z"}

    def get_service(self, call: Call, name: str) -> Any:
        self._found(name, "", 10090)
        return {"id": name, "default_environment": {"environment": "production", "script": {"id": name, "tags": []}}}

    def get_worker(self, call: Call, name: str) -> Any:
        enabled = self._found(name, "").subdomain
        return {"id": name, "name": name, "subdomain": {"enabled": enabled, "previews_enabled": enabled}}

    def get_settings(self, call: Call, name: str, namespace: str = "") -> Any:
        metadata = self._found(name, namespace).metadata
        return {"tags": metadata.get("tags", []), "bindings": metadata.get("bindings", [])}

    def delete_script(self, call: Call, name: str, namespace: str = "") -> Any:
        self._found(name, namespace)
        del self.scripts[f"{namespace}/{name}"]
        return None

    def _found(self, name: str, namespace: str, code: int = 10007) -> Script:
        script = self.scripts.get(f"{namespace}/{name}")
        if script is None and namespace:
            raise Refused(404, 10092, f"This Worker does not exist in the dispatch namespace: {name}")
        if script is None:
            raise Refused(404, code, "This Worker does not exist on your account.")
        return script

    def get_subdomain(self, call: Call) -> Any:
        return {"subdomain": "example"}

    def script_subdomain(self, call: Call, name: str) -> Any:
        script = self._found(name, "")
        if call.method == "POST":
            script.subdomain = call.json()["enabled"]
        return {"enabled": script.subdomain, "previews_enabled": script.subdomain}

    def no_secrets(self, call: Call, name: str) -> Any:
        return []

    def no_deployments(self, call: Call, name: str) -> Any:
        return {"deployments": []}

    # custom host names

    def create_hostname(self, call: Call, zone: str) -> Any:
        self._zone(zone)
        wanted = call.json()
        if wanted.get("ssl") != {"method": "txt", "type": "dv"}:
            raise Refused(400, 1401, "ssl method and type are missing or unknown")
        if any(known["hostname"] == wanted["hostname"] for known in self.hostnames.values()):
            raise Refused(409, 1406, "Duplicate custom hostname found.")
        hostname = {"id": uuid4().hex, "hostname": wanted["hostname"], "token": str(uuid4()), "polls": 0}
        self.hostnames[hostname["id"]] = hostname
        return self._shown(hostname)

    def _shown(self, hostname: dict[str, Any]) -> dict[str, Any]:
        """Tells the records that are still to be set: for the name and for its certificate."""
        status, ssl = self.hostname_path[min(hostname["polls"], len(self.hostname_path) - 1)]
        name, token = hostname["hostname"], hostname["token"]
        shown = {"id": hostname["id"], "hostname": name, "status": status}
        certificate: dict[str, Any] = {"status": ssl, "method": "txt", "type": "dv"}
        if status != "active":
            shown["ownership_verification"] = {"name": f"_cf-custom-hostname.{name}", "type": "txt", "value": token}
        if ssl == "pending_validation":
            certificate["validation_records"] = [{"txt_name": f"_acme-challenge.{name}", "txt_value": token[:8]}]
        return {**shown, "ssl": certificate}

    def list_hostnames(self, call: Call, zone: str) -> Any:
        self._zone(zone)
        wanted = call.query.get("hostname", [None])[0]
        return [self._shown(known) for known in self.hostnames.values() if wanted in (None, known["hostname"])]

    def get_hostname(self, call: Call, zone: str, hostname: str) -> Any:
        self._zone(zone)
        known = self._hostname(hostname)
        known["polls"] += 1
        return self._shown(known)

    def delete_hostname(self, call: Call, zone: str, hostname: str) -> Any:
        self._zone(zone)
        self._hostname(hostname)
        del self.hostnames[hostname]
        return {"id": hostname}

    def _zone(self, zone: str) -> None:
        if zone != ZONE:
            raise Refused(403, 10000, "Authentication error")

    def _hostname(self, hostname: str) -> dict[str, Any]:
        if hostname not in self.hostnames:
            raise Refused(404, 1436, "The custom hostname was not found.")
        return self.hostnames[hostname]


def _stand_in(script: Script, path: str) -> tuple[int, dict[str, Any] | None]:
    """What answers instead of an asset that is not there, by the script's `not_found_handling`."""
    match script.metadata["assets"]["config"].get("not_found_handling"):
        case "single-page-application":
            return 200, script.assets.get("/index.html")
        case "404-page":
            folders = [path.rsplit("/", up)[0] for up in range(1, path.count("/") + 1)]
            pages = [script.assets.get(f"/{folder}/404.html") for folder in folders]
            return 404, next(filter(None, pages), script.assets.get("/404.html"))
    return 404, None


def _secrets(metadata: dict[str, Any], kept: list[str], before: Script | None) -> dict[str, str]:
    earlier = before.secrets if before and "secret_text" in kept else {}
    return earlier | {b["name"]: b["text"] for b in metadata.get("bindings", []) if b["type"] == "secret_text"}


def _routes(fake: FakeCloudflare) -> list[tuple[str, str, Callable[..., Any]]]:
    account = "/accounts/(?P<account>[^/]+)/workers"
    inside = f"{account}/dispatch/namespaces/(?P<namespace>[^/]+)/scripts/(?P<name>[^/]+)"
    outside = f"{account}/scripts/(?P<name>[^/]+)"
    hostnames = "/zones/(?P<zone>[^/]+)/custom_hostnames"
    both = [
        ("POST", "/assets-upload-session", fake.open_session),
        ("PUT", "", fake.put_script),
        ("GET", "", fake.get_script),
        ("GET", "/settings", fake.get_settings),
        ("DELETE", "", fake.delete_script),
    ]
    return [
        ("GET", "/user/tokens/verify", fake.verify_token),
        ("GET", f"{account}/dispatch/namespaces/(?P<namespace>[^/]+)", fake.get_namespace),
        ("POST", f"{account}/assets/upload", fake.upload),
        ("GET", f"{account}/subdomain", fake.get_subdomain),
        ("GET", f"{account}/services/(?P<name>[^/]+)", fake.get_service),
        ("GET", f"{account}/workers/(?P<name>[^/]+)", fake.get_worker),
        ("GET", f"{outside}/subdomain", fake.script_subdomain),
        ("POST", f"{outside}/subdomain", fake.script_subdomain),
        ("GET", f"{outside}/secrets", fake.no_secrets),
        ("GET", f"{outside}/deployments", fake.no_deployments),
        *((method, prefix + rest, handle) for prefix in (inside, outside) for method, rest, handle in both),
        ("POST", hostnames, fake.create_hostname),
        ("GET", hostnames, fake.list_hostnames),
        ("GET", f"{hostnames}/(?P<hostname>[^/]+)", fake.get_hostname),
        ("DELETE", f"{hostnames}/(?P<hostname>[^/]+)", fake.delete_hostname),
    ]


@asynccontextmanager
async def fake_cloudflare() -> AsyncIterator[FakeCloudflare]:
    """Serve the fake on a free port of this host."""
    fake = FakeCloudflare()
    async with serving(fake) as port:
        fake.port = port
        yield fake
