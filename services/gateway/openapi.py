"""The OpenAPI document, completed from what the routes declare, and a page of our own that shows it.

Litestar describes parameters, bodies and answers. Added here, once for all routes: who may call without
a token, the refusals that any route may give, texts without NUL, bodies that may be left out, other media
types of an answer, and an example of everything.
"""

from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import HTTPRoute

from services.gateway.auth import PUBLIC
from services.gateway.errors import MEANINGS
from services.gateway.examples import error_example, example_of
from shared.telemetry import SERVICE_VERSION

_PAGE = Path(__file__).parent / "docs.html"
_JSON = "application/json"
_ALSO = "also_answers"
_REQUIRED = "body_required"
BODY_REQUIRED: dict[str, Any] = {_REQUIRED: True}
"""The `opt` of a route whose body only an older form of the request leaves out."""
_GREATEST = 2**53 - 1
_NO_NUL = "^[^\\u0000]*$"
_PATH_TEXT = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

Json = dict[str, Any]


def also_answers(*media_types: str) -> dict[str, Any]:
    """Return the `opt` of a route that answers in other media types, too, if asked to."""
    return {_ALSO: media_types}


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


def document(app: Litestar) -> Json:
    """Return the whole document."""
    api: Json = app.openapi_schema.to_schema()
    schemas: Json = api["components"]["schemas"]
    for schema in schemas.values():
        _refuse_nul(schema)
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                for method in handler.http_methods:
                    operation = api["paths"].get(route.path_format, {}).get(method.lower())
                    if operation is not None:
                        _complete(operation, handler, schemas)
    return api


def _complete(operation: Json, handler: HTTPRouteHandler, schemas: Json) -> None:
    public = PUBLIC.items() <= handler.opt.items()
    if public:
        operation["security"] = []
    for parameter in operation.get("parameters", []):
        _complete_parameter(parameter)
    body = operation.get("requestBody")
    if body:
        data = handler.parsed_fn_signature.parameters.get("data")
        body["required"] = data is None or not data.has_default or _REQUIRED in handler.opt
        for media in body["content"].values():
            media["schema"] = _without_null(media["schema"])
    for status in _refusals(operation, public=public):
        operation["responses"].setdefault(str(status), _refusal(status))
    for status, response in operation["responses"].items():
        content = response.setdefault("content", {})
        for media_type in handler.opt.get(_ALSO, ()) if int(status) < 300 else ():
            content[media_type] = {"schema": {"type": "string"}}
    _add_examples(operation, schemas)


def _without_null(schema: Json) -> Json:
    """Return the schema of a body that may be left out, but not be `null`."""
    choices = [choice for choice in schema.get("oneOf", []) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else schema


def _complete_parameter(parameter: Json) -> None:
    schema = parameter["schema"]
    if parameter["in"] == "path" and schema.get("type") == "string":
        schema.setdefault("pattern", _PATH_TEXT)
    elif parameter["in"] == "path":
        schema |= {"minimum": 1, "maximum": _GREATEST}
    _refuse_nul(schema)


def _refuse_nul(schema: Any) -> None:
    """Say of every text that is not described further that it has no NUL."""
    if isinstance(schema, list):
        for part in schema:
            _refuse_nul(part)
    elif isinstance(schema, dict):
        if schema.get("type") == "string" and not {"enum", "const", "pattern", "format"} & schema.keys():
            schema["pattern"] = _NO_NUL
        for key, part in schema.items():
            if key not in ("enum", "examples", "example", "default"):
                _refuse_nul(part)


def _refusals(operation: Json, *, public: bool) -> list[int]:
    """Return the statuses of refusals that any route of this kind may give."""
    statuses = [400]
    if not public:
        statuses += [401, 403, 503]
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", [])):
        statuses.append(404)
    if "requestBody" in operation:
        statuses.append(413)
    return statuses


def _refusal(status: int) -> Json:
    schema = {"$ref": "#/components/schemas/ErrorBody"}
    return {"description": MEANINGS[status], "content": {_JSON: {"schema": schema}}}


def _add_examples(operation: Json, schemas: Json) -> None:
    contents = [operation["requestBody"]["content"]] if "requestBody" in operation else []
    for media in [media for content in contents for media in content.values()]:
        if not any(key in media for key in ("example", "examples")):
            media["example"] = example_of(media.get("schema", {}), schemas)
    for status, response in operation["responses"].items():
        for media_type, media in response["content"].items():
            if any(key in media for key in ("example", "examples")):
                continue
            if int(status) >= 300 and media_type == _JSON and "$ref" in media["schema"]:
                media["example"] = error_example(int(status))
            else:
                media["example"] = example_of(media.get("schema", {}), schemas, media_type)


class _Page(OpenAPIRenderPlugin):
    """Serves one file; its script reads `/openapi.json`."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return _PAGE.read_bytes()
