"""As much of the service as the command line needs, in memory, over real HTTP."""

import asyncio
import io
import socket
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import uvicorn
from blake3 import blake3

TOKEN = "test-token"
STEPS = ("validate", "sandbox", "sync", "build", "deploy", "cleanup")
WORDS = ("validating", "creating_sandbox", "syncing_files", "building", "deploying", "updating_database")
DIAGNOSIS = {
    "code": "BUILD_TYPE_ERROR",
    "step": "build",
    "class": "user",
    "retryable": False,
    "message": "Type 'string' is not assignable to type 'number'.",
    "hint": "Correct the type error at the named file and line.",
    "excerpt": "src/app.ts:3:7 - error TS2322",
    "file": "src/app.ts",
    "line": 3,
}


def status(deployment_id: str, finished: int, outcome: str = "") -> dict[str, Any]:
    """The status body when `finished` steps are done and the next one runs, or has failed."""
    running = "failed" if outcome == "failed" else "in_progress"
    states = ["completed"] * finished + [running] + ["pending"] * 6
    body: dict[str, Any] = {
        "deploymentId": deployment_id,
        "status": outcome or WORDS[finished],
        "progress": (0, 10, 25, 45, 70, 90, 100)[finished],
        "duration": 1234,
        "steps": {name: {"status": states[n], "attempts": 1, "duration": 50} for n, name in enumerate(STEPS)},
    }
    if outcome == "completed":
        body["workerUrl"] = "http://shop.localhost:3080"
    if outcome == "failed":
        body["diagnosis"] = DIAGNOSIS
    return body


Frame = tuple[str, str, Any]
"""Id, name and data of one server-sent event."""


@dataclass
class Service:
    """The fake: what it was sent, and what it shall answer.

    Attributes:
        outcome: how deployments end.
        organization: the token's organisation, None for every one.
        refusal: status and body of every answer to `POST /deploy`, if set.
        cut_after: how many events each connection to an event stream gets before it breaks; later
            connections get the rest.
        held: events after this many wait until `go_on` is set; `watched` is set when one waits.
        stopped: held streams break instead of going on.
    """

    url: str = ""
    outcome: str = "completed"
    organization: str | None = "org_1"
    refusal: tuple[int, dict[str, Any]] | None = None
    cut_after: int = 1000
    held: int = 1000
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    watched: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False
    log: list[str] = field(default_factory=lambda: ["> vite build", "built in 1.2 s"])
    flaky_uploads: int = 0
    projects: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploaded: list[str] = field(default_factory=list)
    manifests: list[dict[str, Any]] = field(default_factory=list)
    deployed: list[dict[str, Any]] = field(default_factory=list)
    resumed_after: list[str] = field(default_factory=list)
    upload_queries: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        body = b""
        while (message := await receive()).get("more_body"):
            body += message.get("body", b"")
        body += message.get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"]
        self.requests.append(f"{method} {path}")
        parts = path.strip("/").split("/")
        if parts[0] == "blobs":
            self.upload_queries.append(scope["query_string"].decode())
        if headers.get("authorization") != f"Bearer {TOKEN}":
            await _json(send, 401, {"success": False, "error": "Unauthorized", "message": "No valid token."})
        elif parts[-1] in ("events", "stream"):
            await self._stream(parts, headers.get("last-event-id", ""), send)
        else:
            await _json(send, *self._answer(method, parts, body))

    def _answer(self, method: str, parts: list[str], body: bytes) -> tuple[int, Any]:
        match method, parts:
            case "GET", ["whoami"]:
                return 200, {
                    "organizationId": self.organization,
                    "userId": "user_1",
                    "scopes": ["deploy"],
                    "tokenName": "t",
                }
            case "GET", ["projects"]:
                return 200, {"projects": list(self.projects.values())}
            case "POST", ["projects"]:
                order = msgspec.json.decode(body)
                return 201, {"project": self.add_project(order["name"], order["orgId"])}
            case "GET", ["projects", project_id] if project_id in self.projects:
                return 200, {"project": self.projects[project_id]}
            case "POST", ["projects", _, "source"]:
                return 200, self._source(msgspec.json.decode(body)["files"])
            case "PUT", ["blobs", digest]:
                return self._brought({digest: body})
            case "POST", ["blobs"]:
                with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
                    members = [(member.name, archive.extractfile(member)) for member in archive]
                    return self._brought({digest: file.read() for digest, file in members if file})
            case "POST", ["deploy"]:
                self.deployed.append(msgspec.json.decode(body))
                return self.refusal or (200, {"success": True, "deploymentId": f"deploy_{len(self.deployed)}"})
            case "POST", ["deploy", deployment_id, "cancel"]:
                return self.refusal or (200, {"deploymentId": deployment_id, "message": "Deployment cancelled"})
            case "POST", ["deploy", deployment_id, "retry"]:
                return self.refusal or (200, {"deploymentId": "deploy_2", "retryOf": deployment_id})
            case "GET", ["deploy", deployment_id, "status"]:
                return 200, self._frames(["", deployment_id, "events"])[-1][2]
            case "GET", ["deploy", deployment_id, "logs"]:
                lines = [data for _, name, data in self._frames(["", deployment_id, "stream"]) if name == "log"]
                return 200, {"deploymentId": deployment_id, "logs": lines, "complete": True}
            case "GET", ["status", "deployments"]:
                return 200, {"deployments": [{"deploymentId": "deploy_1", "status": "completed", "duration": 900}]}
            case "GET", ["health", "detailed"]:
                return 503, {"status": "unhealthy", "checks": {"database": {"status": "unhealthy"}}}
        error = {"error": "Project not found", "message": "The specified project does not exist."}
        return 404, {"success": False, **error, "requestId": "request-7"}

    def add_project(self, name: str, organization_id: str = "org_1") -> dict[str, Any]:
        """Make a project and return it."""
        number = len(self.projects) + 1
        project = {"id": f"project_{number}", "name": name, "organizationId": organization_id}
        self.projects[project["id"]] = project | {"url": f"http://{name}.localhost"}
        return self.projects[project["id"]]

    def _source(self, files: dict[str, Any]) -> dict[str, Any]:
        self.manifests.append(files)
        missing = sorted({entry["digest"] for entry in files.values()} - self.blobs.keys())
        return {"missing": missing, "files": len(files)} | ({} if missing else {"snapshotId": "snapshot_1"})

    def _brought(self, blobs: dict[str, bytes]) -> tuple[int, Any]:
        if self.flaky_uploads:
            self.flaky_uploads -= 1
            return 503, {"error": "SERVICE_UNAVAILABLE", "message": "The object store is away."}
        if any(blake3(data).hexdigest() != digest for digest, data in blobs.items()):
            return 400, {"error": "INVALID_REQUEST", "message": "wrong digest"}
        self.blobs |= blobs
        self.uploaded += blobs
        return 201, {}

    def _frames(self, parts: list[str]) -> list[Frame]:
        if parts[-1] == "stream":
            lines: list[Frame] = [
                (
                    str(seq),
                    "log",
                    {"seq": seq, "step": "build", "message": message, "timestamp": "2026-01-01T00:00:00Z"},
                )
                for seq, message in enumerate(self.log, 1)
            ]
            return [*lines, ("", "end", {})]
        deployment_id = parts[1]
        finished = 3 if self.outcome == "failed" else 6
        steps: list[Frame] = [(str(100 + n), "status", status(deployment_id, n)) for n in range(min(finished + 1, 6))]
        return [*steps, ("200", "end", status(deployment_id, finished, self.outcome))]

    async def _stream(self, parts: list[str], last_id: str, send: Callable[[Any], Any]) -> None:
        frames = self._frames(parts)
        position = next((n for n, frame in enumerate(frames, 1) if frame[0] == last_id), 0) if last_id else 0
        if last_id:
            self.resumed_after.append(last_id)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
        for number, (event_id, name, data) in enumerate(frames[position:]):
            if number == self.cut_after:
                raise ConnectionAbortedError
            if position + number >= self.held and parts[-1] == "events":
                self.watched.set()
                await self.go_on.wait()
                if self.stopped:
                    raise ConnectionAbortedError
            frame = f"id: {event_id}\nevent: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _json(send: Callable[[Any], Any], code: int, body: Any) -> None:
    await send({"type": "http.response.start", "status": code, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": msgspec.json.encode(body)})


def listening_socket(port: int = 0) -> socket.socket:
    """A socket that takes connections from now on."""
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


@asynccontextmanager
async def serving(service: Service, port: int = 0) -> AsyncIterator[Service]:
    """Serve until left; `service.url` says where."""
    listener = listening_socket(port)
    service.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    options = {"lifespan": "off", "log_level": "critical", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(service, **options))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield service
    finally:
        service.stopped = True
        service.go_on.set()
        server.should_exit = True
        await task
