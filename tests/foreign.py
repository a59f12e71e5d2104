"""What the isolation tests know of the routes: how to name something that another organisation owns.

A new route needs an entry here where it takes a path parameter, a query parameter that names things, or a body that
nobody named before; `unknown` tells which, and the unit tests fail until it is there. Then every attack of
`tests/e2e/test_isolation.py` is made on it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import urlencode

import httpx
from blake3 import blake3
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from services.gateway.app import create_app
from services.gateway.auth import rule_of
from shared.adapters.jetstream.bus import Bus, encode
from shared.adapters.jetstream.dead_letters import DeadLetters
from shared.blobs import store, store_manifest
from shared.contracts.messages import Command, DeadLetter, Work
from shared.ports import Entry, Manifest
from shared.resources import Resources
from shared.settings import Settings

VICTIM = "victim-org-7f3b"
ATTACKER = "attacker-org"
HOSTNAME = "shop.victims-7f3b.com"
"""A domain of the victim's project."""


@dataclass(frozen=True)
class Owned:
    """One of everything that `VICTIM` owns: its ids."""

    project_id: str
    deployment_id: str
    token_id: str
    release_id: str
    webhook_id: str
    delivery_id: str
    sequence: int

    @property
    def marks(self) -> tuple[str, ...]:
        """What no answer to a stranger may contain."""
        ids = (self.project_id, self.deployment_id, self.token_id, self.release_id, self.webhook_id, self.delivery_id)
        return VICTIM, HOSTNAME, *ids


@dataclass(frozen=True)
class Parameter:
    """How to fill a parameter: with something of the victim's, and with what nobody has.

    `owned` is False where the parameter names nothing that belongs to anybody by itself.
    """

    foreign: Callable[[Owned], Any]
    missing: Any
    owned: bool = True


def _same(value: Any) -> Parameter:
    return Parameter(lambda _: value, value, owned=False)


PATH = {
    "project_id": Parameter(lambda its: its.project_id, "project-none"),
    "deployment_id": Parameter(lambda its: its.deployment_id, "deploy_none"),
    "token_id": Parameter(lambda its: its.token_id, "key_none"),
    "release_id": Parameter(lambda its: its.release_id, "rel_none"),
    "hostname": Parameter(lambda _: HOSTNAME, "none.victims-7f3b.com"),
    "webhook_id": Parameter(lambda its: its.webhook_id, "hook_none"),
    "delivery_id": Parameter(lambda its: its.delivery_id, "delivery_none"),
    "sequence": Parameter(lambda its: its.sequence, 987_654),
    "digest": _same(blake3(b"bytes").hexdigest()),
    "name": _same("SECRET"),
}
QUERY = {
    "id": PATH["deployment_id"],
    "instanceId": PATH["deployment_id"],
    "projectId": PATH["project_id"],
    "actor": PATH["token_id"],
    "orgId": Parameter(lambda _: VICTIM, "no-such-organisation"),
}
REQUIRED = {"path": "index.html"}
"""Query parameters without which a route answers nothing."""
CURSORS = {"GET /projects": PATH["project_id"], "GET /tokens": PATH["token_id"], "GET /webhooks": PATH["webhook_id"]}
"""Lists whose cursor is the id of a thing."""
"""Query parameters that name things; others are not tried."""

Body = Callable[[Owned], Any]
BODIES: dict[str, Body] = {
    "POST /deploy": lambda its: {"projectId": its.project_id, "orgId": VICTIM, "userId": "eve"},
    "POST /projects": lambda _: {"name": "Planted", "orgId": VICTIM},
    "PUT /projects/{project_id}/env": lambda _: {"variables": {"SECRET": "planted"}},
    "PATCH /projects/{project_id}/env": lambda _: {"variables": {"SECRET": None}},
    "PUT /projects/{project_id}/env/{name}": lambda _: {"value": "planted"},
    "POST /projects/{project_id}/source": lambda _: {"files": {}},
    "PUT /projects/{project_id}/source": lambda _: b"no archive",
    "PUT /blobs/{digest}": lambda _: b"bytes",
    "POST /blobs": lambda _: b"no archive",
    "POST /status/queue/pause": lambda _: {"orgId": VICTIM},
    "POST /status/queue/resume": lambda _: {"orgId": VICTIM},
    "POST /status/dlq/redrive": lambda _: {"filter": {"orgId": VICTIM}},
    "DELETE /status/dlq/{sequence}": lambda _: {"reason": "planted"},
    "POST /status/cleanup": lambda _: {"olderThanDays": 0, "keepReleases": 1},
    "POST /tokens": lambda _: {"name": "planted", "scopes": ["read"], "orgId": VICTIM},
    "POST /tokens/{token_id}/rotate": lambda _: {"overlapSeconds": 60},
    "PATCH /projects/{project_id}": lambda _: {"name": "Planted"},
    "POST /projects/{project_id}/domains": lambda _: {"hostname": "planted.victims-7f3b.com"},
    "POST /projects/{project_id}/lock": lambda _: {"reason": "planted"},
    "POST /projects/{project_id}/rollback": lambda its: {"releaseId": its.release_id},
    "POST /webhooks": lambda _: {"url": "http://127.0.0.1:9/planted", "orgId": VICTIM},
    "PATCH /webhooks/{webhook_id}": lambda _: {"url": "http://127.0.0.1:9/planted"},
}
"""For each route that takes a body one that is valid, and names the victim wherever it can."""


@dataclass(frozen=True)
class Endpoint:
    """One method of one route.

    Attributes:
        rule: `public`, or the scope that is needed.
        parameters: names of its query parameters.
        takes_body: whether its document tells of a body.
    """

    method: str
    path: str
    rule: str
    parameters: frozenset[str]
    takes_body: bool

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def fields(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    @property
    def queries(self) -> dict[str, Parameter]:
        """The query parameters by which it can be asked for something of the victim's."""
        named = {name: QUERY[name] for name in self.parameters & QUERY.keys()}
        return named | ({"cursor": CURSORS[self.name]} if self.name in CURSORS else {})

    @property
    def owned_in_project(self) -> bool:
        """Whether it names a project and something in it that belongs to one project only."""
        return "project_id" in self.fields and any(PATH[it].owned for it in self.fields if it != "project_id")

    @property
    def names_owned(self) -> bool:
        return any(PATH[field].owned for field in self.fields)

    def filled(self, its: Owned, *, missing: bool = False, **own: str) -> str:
        """Return the path, with things of the victim's or with what nobody has; `own` is used instead where it fits."""
        path = self.path.format(**self.values(its, missing=missing) | own)
        needed = {name: value for name, value in REQUIRED.items() if name in self.parameters}
        return f"{path}?{urlencode(needed)}" if needed else path

    def values(self, its: Owned, *, missing: bool = False) -> dict[str, Any]:
        """Return what its path parameters are filled with."""
        return {field: PATH[field].missing if missing else PATH[field].foreign(its) for field in self.fields}

    def content(self, its: Owned) -> dict[str, Any]:
        """Return the body as arguments of httpx."""
        body = BODIES[self.name](its) if self.name in BODIES else None
        return {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}


def unknown(endpoint: Endpoint) -> list[str]:
    """Return what is missing in this file for a route."""
    found = [f"PATH has no {field!r}" for field in endpoint.fields if field not in PATH]
    if endpoint.takes_body and endpoint.name not in BODIES:
        found.append(f"BODIES has no {endpoint.name!r}")
    return [f"{endpoint.name}: {what} (tests/foreign.py)" for what in found if endpoint.rule != "public"]


def route_table() -> list[Endpoint]:
    """Return every endpoint of the gateway, as the app has them."""
    ports = MagicMock(settings=Settings(), allowed_origins=())
    app = create_app(ports)
    return sorted(_endpoints(app), key=lambda endpoint: endpoint.name)


def _endpoints(app: Litestar) -> Iterator[Endpoint]:
    paths = app.openapi_schema.paths or {}
    for route in app.routes:
        handlers = [
            handler for handler in getattr(route, "route_handlers", ()) if isinstance(handler, HTTPRouteHandler)
        ]
        for handler in handlers:
            for method in sorted(handler.http_methods - {"OPTIONS"}):
                operation = getattr(paths.get(route.path_format), method.lower(), None)
                parameters = getattr(operation, "parameters", None) or ()
                names = frozenset(it.name for it in parameters if it.param_in == "query")
                body = getattr(operation, "request_body", None) is not None
                yield Endpoint(str(method), route.path_format, rule_of(handler), names, body)


async def own_everything(victim: httpx.AsyncClient, resources: Resources) -> Owned:
    """Make one of everything, as the victim's admin."""

    async def made(method: str, path: str, status: int = 200, **body: Any) -> Any:
        answer = await victim.request(method, path, **body)
        assert answer.status_code == status, answer.text
        return answer.json()

    project = (await made("POST", "/projects", 201, json={"name": "Theirs"}))["project"]["id"]
    await made("PUT", f"/projects/{project}/env", json={"variables": {"SECRET": "theirs"}})
    await made("POST", f"/projects/{project}/source", json={"files": {}})
    order = {"projectId": project, "orgId": VICTIM, "userId": "vera"}
    deployment = (await made("POST", "/deploy", json=order))["deploymentId"]
    token = (await made("POST", "/tokens", 201, json={"name": "theirs", "scopes": ["read"]}))["token"]["id"]
    webhook = (await made("POST", "/webhooks", 201, json={"url": "http://127.0.0.1:9/theirs"}))["webhook"]["id"]
    delivery = (await made("POST", f"/webhooks/{webhook}/test", 202))["delivery"]["id"]
    await made("POST", f"/projects/{project}/domains", 201, json={"hostname": HOSTNAME})
    page = b"<p>theirs</p>"
    built = Manifest({"index.html": Entry(await store(resources.artifacts, page), len(page))})
    manifest = await store_manifest(resources.artifacts, built)
    release = await resources.deployments.insert_release(deployment, manifest, built)
    sequence = await _bury(resources.bus, project, deployment)
    return Owned(project, deployment, token, release, webhook, delivery, sequence)


async def _bury(bus: Bus, project_id: str, deployment_id: str) -> int:
    command = Command(
        deployment_id=deployment_id, project_id=project_id, organization_id=VICTIM, step="sync", deadline=0,
        work=Work(source=""),
    )  # fmt: skip
    letter = DeadLetter(
        deployment_id=deployment_id, actor="sync", reason="max_retries_exceeded", deliveries=4, died_at=time.time(),
        body=encode(command).decode(),
    )  # fmt: skip
    await bus.bury(letter, original=1)
    [stored] = [letter async for letter in DeadLetters(bus).oldest_first()]
    return stored.sequence
