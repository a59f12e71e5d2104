"""The front door: what this service is, and who the caller is."""

import time

import msgspec
from litestar import Response, get

from services.gateway.auth import PUBLIC, READ
from services.gateway.errors import error_responses
from services.gateway.openapi import document
from services.gateway.ports import GatewayRequest
from shared.telemetry import SERVICE_VERSION
from shared.times import iso_time

SERVICE_NAME = "Zepid Deploy V2"
_ENDPOINTS = {
    "deploy": "POST /deploy",
    "status": "GET /deploy/{id}/status",
    "logs": "GET /deploy/{id}/logs",
    "events": "GET /deploy/{id}/events",
    "cancel": "POST /deploy/{id}/cancel",
    "retry": "POST /deploy/{id}/retry",
    "artifacts": "GET /deploy/{id}/artifacts",
    "projects": "GET /projects",
    "source": "PUT /projects/{id}/source",
    "environment": "GET /projects/{id}/env",
    "domains": "GET /projects/{id}/domains",
    "releases": "GET /projects/{id}/releases",
    "rollback": "POST /projects/{id}/rollback",
    "webhooks": "GET /webhooks",
    "tokens": "GET /tokens",
    "overview": "GET /status",
    "deployments": "GET /status/deployments",
    "queue": "GET /status/queue",
    "quota": "GET /status/quota",
    "audit": "GET /status/audit",
    "deadLetters": "GET /status/dlq",
    "health": "GET /health",
    "metrics": "GET /metrics",
    "dashboard": "GET /dashboard",
    "documentation": "GET /docs",
    "openapi": "GET /openapi.json",
}


class ServiceBody(msgspec.Struct, frozen=True, kw_only=True):
    """What this service is and where to go from here."""

    message: str
    service: str
    version: str
    status: str
    timestamp: str
    architecture: str
    description: str
    endpoints: dict[str, str]


class Identity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who a token speaks for; no organisation means every one."""

    token_name: str
    organization_id: str | None
    user_id: str
    scopes: tuple[str, ...]


@get("/", opt=PUBLIC, tags=["Service"], summary="What this is", sync_to_thread=False)
def root() -> ServiceBody:
    """Return what the service is and its main routes."""
    return ServiceBody(
        message=f"{SERVICE_NAME} is running",
        service=SERVICE_NAME,
        version=SERVICE_VERSION,
        status="running",
        timestamp=iso_time(time.time()),
        architecture="event-driven: six steps over NATS JetStream, PostgreSQL for what must be true",
        description="Builds web apps and puts them live",
        endpoints=_ENDPOINTS,
    )


@get("/whoami", opt=READ, tags=["Service"], summary="Who the token speaks for", responses=error_responses(401))
async def whoami(request: GatewayRequest) -> Identity:
    """Return the organisation, user and scopes of the token."""
    caller = request.caller
    return Identity(
        token_name=caller.token_name,
        organization_id=caller.organization_id,
        user_id=caller.user_id,
        scopes=caller.scopes,
    )


@get("/openapi.json", opt=PUBLIC, include_in_schema=False)
async def openapi_document(request: GatewayRequest) -> Response[dict[str, object]]:
    """Return the OpenAPI document of these routes."""
    return Response(document(request.app), media_type="application/json")


HANDLERS = [root, whoami, openapi_document]
