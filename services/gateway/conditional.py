"""Conditional answers: who polls a status that has not changed gets no body again."""

from typing import Annotated

import msgspec
from blake3 import blake3
from litestar import Response
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter

from services.gateway.status import StatusBody, without_time

_TAG_CHARACTERS = 32

IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="The `ETag` of an answer: 304 if nothing changed")
]
NOT_MODIFIED = {304: ResponseSpec(None, description="Nothing has changed", generate_examples=False)}


def unless_known(body: StatusBody, known: str | None) -> Response[StatusBody]:
    """Return the body with its tag, or 304 where `known` (an `If-None-Match`) names it, its time aside."""
    digest = blake3(msgspec.json.encode(without_time(body))).hexdigest()[:_TAG_CHARACTERS]
    headers = {"ETag": f'W/"{digest}"', "Cache-Control": "private, no-cache"}
    if known is not None and (known.strip() == "*" or digest in known):
        return Response(None, status_code=304, headers=headers)  # type: ignore[arg-type]
    return Response(body, headers=headers)
