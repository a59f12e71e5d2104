"""The gateway as an ASGI app."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from services.gateway.audit import record_writes
from services.gateway.auth import require_rules
from services.gateway.bodies import check_body, refuse_nul
from services.gateway.errors import EXCEPTION_HANDLERS
from services.gateway.event_stream import DIRECT_SEND
from services.gateway.head import answer_head
from services.gateway.methods import methods_at
from services.gateway.openapi import openapi_config
from services.gateway.ports import Gateway, GatewayPorts, GatewayRequest
from services.gateway.request_id import echo_request_id
from services.gateway.routes import (
    artifacts,
    audit,
    cleanup,
    control,
    dashboard,
    dead_letters,
    deployments,
    domains,
    env,
    failures,
    health,
    live,
    locks,
    logs,
    metrics,
    operations,
    projects,
    queue,
    quota,
    releases,
    service,
    sources,
    tokens,
    webhook_deliveries,
    webhooks,
)
from services.gateway.schemas import StructSchemas

__all__ = ["GatewayPorts", "create_app"]

_ROUTES = (
    service,
    dashboard,
    deployments,
    control,
    live,
    logs,
    failures,
    projects,
    env,
    domains,
    sources,
    releases,
    locks,
    artifacts,
    health,
    operations,
    queue,
    quota,
    cleanup,
    dead_letters,
    metrics,
    tokens,
    audit,
    webhooks,
    webhook_deliveries,
)
_BODY_BYTES = 1024 * 1024

Guard = Callable[[Any, BaseRouteHandler], Awaitable[None]]
BeforeRequest = Callable[[Any], Awaitable[None]]


class GatewayApp(Litestar):
    """The app; answers HEAD wherever it answers GET."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Take one connection; event streams send their frames by the server's own `send`."""
        if scope["type"] == "http":
            scope[DIRECT_SEND] = send
            if scope["method"] == "HEAD":
                return await answer_head(super().__call__, scope, receive, send)
            if (
                scope["method"] == "OPTIONS"
                and not _is_preflight(scope)
                and (allowed := methods_at(self, scope["path"]))
            ):
                return await _answer_options(allowed, send)
        await super().__call__(scope, receive, send)


def _is_preflight(scope: Any) -> bool:
    return any(name == b"access-control-request-method" for name, _ in scope["headers"])


async def _answer_options(allowed: list[str], send: Any) -> None:
    headers = [(b"allow", ", ".join(allowed).encode())]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def in_front_of_handlers(*guards: Guard) -> BeforeRequest:
    """Return the hook that applies guards to every request; as Litestar's own each would cost a copy of the handler."""

    async def apply(request: GatewayRequest) -> None:
        handler = request.scope["route_handler"]
        for guard in guards:
            await guard(request, handler)

    return apply


def create_app(ports: GatewayPorts) -> Litestar:
    """Return the app; its lifespan starts and stops the feeds of the event streams."""
    gateway = Gateway(ports)
    guard = in_front_of_handlers(refuse_nul, gateway.gate.admit, check_body)
    return GatewayApp(
        route_handlers=[handler for routes in _ROUTES for handler in routes.HANDLERS],
        before_request=guard,
        request_class=GatewayRequest,
        state=State({"gateway": gateway}),
        exception_handlers=EXCEPTION_HANDLERS,
        before_send=[echo_request_id, record_writes(gateway.ledger)],
        on_startup=[partial(require_rules, guard=guard), gateway.start],
        on_shutdown=[gateway.stop],
        cors_config=gateway.cors,
        openapi_config=openapi_config(),
        plugins=[StructSchemas()],
        request_max_body_size=_BODY_BYTES,
        logging_config=None,
    )
