"""The OpenAPI document, and a page of our own that shows it: no script or style from another host."""

from pathlib import Path
from typing import Any

from litestar import Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from services.gateway.auth import PUBLIC
from shared.telemetry import SERVICE_VERSION

_PAGE = Path(__file__).parent / "docs.html"


def openapi_config() -> OpenAPIConfig:
    """Return what the document says besides the routes, and serve the page at `/docs`."""
    return OpenAPIConfig(
        title="Zepid Deploy",
        version=SERVICE_VERSION,
        description="Builds web apps and puts them live. Every route but the open ones needs a bearer token.",
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer", description="An API key")}
        ),
        security=[{"token": []}],
        use_handler_docstrings=True,
        render_plugins=[_Page(path="/")],
        openapi_router=Router("/docs", route_handlers=[], include_in_schema=False, opt=PUBLIC),
    )


class _Page(OpenAPIRenderPlugin):
    """Serves one file; its script reads `/openapi.json`."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return _PAGE.read_bytes()
