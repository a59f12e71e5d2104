"""Health, for people and for orchestrators; open to everyone."""

import time
from typing import Any

import msgspec
from litestar import Response, get

from services.gateway.auth import PUBLIC
from services.gateway.backlog import ActorBacklog, backlog
from services.gateway.health import Check
from services.gateway.instances import Instance
from services.gateway.ports import GatewayRequest
from services.gateway.routes.service import SERVICE_NAME
from shared.telemetry import SERVICE_VERSION
from shared.times import iso_time


class HealthBody(msgspec.Struct, frozen=True, kw_only=True):
    """The service's health; `uptime` in milliseconds, `checks`: dependency → healthy or unhealthy."""

    status: str
    timestamp: str
    service: str
    version: str
    uptime: int
    checks: dict[str, str]


class DetailedHealthBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The service's health with each check's answer, who runs, and the backlog of each actor's queue."""

    status: str
    timestamp: str
    service: str
    version: str
    uptime: int
    checks: dict[str, Check]
    services: dict[str, list[Instance]]
    queue: dict[str, ActorBacklog] | None = None


class ReadyBody(msgspec.Struct, frozen=True):
    """Whether requests may be sent here."""

    ready: bool
    checks: dict[str, str]


@get("/health", opt=PUBLIC, tags=["Health"], summary="Health of the service")
async def health(request: GatewayRequest) -> Response[HealthBody]:
    """200 when every dependency works, else 503."""
    checks = await request.gateway.health.checks()
    body = HealthBody(**_facts(request, checks), checks=_words(checks))
    return Response(body, status_code=_status_code(checks))


@get("/health/detailed", opt=PUBLIC, tags=["Health"], summary="Health with latencies and backlogs")
async def detailed(request: GatewayRequest) -> Response[DetailedHealthBody]:
    """200 when every dependency works, else 503; each with its latency, which services run, what waits."""
    checks = await request.gateway.health.checks()
    queue = await backlog(request.ports.bus) if checks["queue"].healthy else None
    services = request.gateway.instances.by_service()
    body = DetailedHealthBody(**_facts(request, checks), checks=checks, services=services, queue=queue)
    return Response(body, status_code=_status_code(checks))


@get("/health/ready", opt=PUBLIC, tags=["Health"], summary="Readiness")
async def ready(request: GatewayRequest) -> Response[ReadyBody]:
    """200 when requests can be served, else 503."""
    checks = await request.gateway.health.checks()
    return Response(ReadyBody(_all_healthy(checks), _words(checks)), status_code=_status_code(checks))


@get("/health/live", opt=PUBLIC, tags=["Health"], summary="Liveness", sync_to_thread=False)
def live() -> dict[str, bool]:
    """200 as long as the process runs; asks no dependency."""
    return {"alive": True}


def _facts(request: GatewayRequest, checks: dict[str, Check]) -> dict[str, Any]:
    return {
        "status": "healthy" if _all_healthy(checks) else "unhealthy",
        "timestamp": iso_time(time.time()),
        "service": SERVICE_NAME,
        "version": SERVICE_VERSION,
        "uptime": request.gateway.health.uptime_ms,
    }


def _all_healthy(checks: dict[str, Check]) -> bool:
    return all(check.healthy for check in checks.values())


def _status_code(checks: dict[str, Check]) -> int:
    return 200 if _all_healthy(checks) else 503


def _words(checks: dict[str, Check]) -> dict[str, str]:
    return {name: check.status for name, check in checks.items()}


HANDLERS = [health, detailed, ready, live]
