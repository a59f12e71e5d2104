"""What is refused of any request before its handler sees it, so that the OpenAPI document is kept to."""

import re
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.exceptions import SerializationException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from services.gateway.auth import is_checked_first
from services.gateway.errors import MISSING_FIELD, ValidationFailed
from shared.contracts.errors import ZepidError

_REFUSED = "Text may not hold the character NUL"
_PLACE = re.compile(r" - at `\$\.?(.*)`$")


async def refuse_nul(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Refuse a path or query with a NUL in it: no database stores that (a guard)."""
    if "\0" in connection.scope["path"] or b"%00" in connection.scope["query_string"]:
        raise ValidationFailed({"url": [_REFUSED]})


async def check_body(connection: Any, handler: BaseRouteHandler) -> None:
    """Refuse a JSON body that is not exactly of its type, such as a number in quotes (a guard)."""
    field = handler.parsed_data_field if isinstance(handler, HTTPRouteHandler) else None
    if field is None or not (raw := await connection.body()):
        return
    if is_checked_first(handler) and b"\\u0000" not in raw:
        return
    try:
        body = await connection.json()
        if body is None:
            raise ValidationFailed({"body": ["Expected `object`, got `null`"]})
        known = msgspec.convert(whole_numbers(body), field.annotation)
        if b"\\u0000" in raw:
            _refuse_nul_in(msgspec.to_builtins(known))
    except SerializationException:
        raise ZepidError("INVALID_REQUEST", "The body is not valid JSON") from None
    except msgspec.ValidationError as error:
        raise ValidationFailed(_fault(str(error))) from None


def whole_numbers(value: Any) -> Any:
    """Return decoded JSON with 5.0 as 5, which JSON does not tell apart."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: whole_numbers(part) for key, part in value.items()}
    return [whole_numbers(part) for part in value] if isinstance(value, list) else value


def _fault(text: str) -> dict[str, list[str]]:
    place = _PLACE.search(text)
    missing = MISSING_FIELD.search(text)
    path = [place[1]] if place and place[1] else []
    name = ".".join([*path, missing[1]] if missing else path) or "body"
    return {name: ["Required" if missing else _PLACE.sub("", text)]}


def _refuse_nul_in(value: Any) -> None:
    if isinstance(value, str) and "\0" in value:
        raise ValidationFailed({"body": [_REFUSED]})
    if isinstance(value, dict):
        for key, part in value.items():
            _refuse_nul_in(key)
            _refuse_nul_in(part)
    elif isinstance(value, list):
        for part in value:
            _refuse_nul_in(part)
