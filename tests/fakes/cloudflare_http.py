"""Requests to the fake Cloudflare, whole; and failures that a test orders."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from multipart import MultipartSegment, PushMultipartParser, parse_options_header

from tests.fakes.cloudflare_state import Part, Refused


@dataclass
class Call:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    status: int = 0

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(400, 10021, "the body is not JSON") from None

    def parts(self) -> list[Part]:
        kind, options = parse_options_header(self.headers.get("content-type", ""))
        if kind != "multipart/form-data":
            raise Refused(400, 10021, f"the body is {kind or 'untyped'}, not multipart/form-data")
        return list(parts_of(self.body, options["boundary"]))


@dataclass
class Fault:
    """Answers that are to fail: the next `times` requests whose method and path match.

    With `after` the request takes effect, and only its answer is lost.
    """

    pattern: str
    status: int
    times: int = 1
    code: int = 10001
    message: str = "an injected failure"
    retry_after: str | None = None
    after: bool = False

    def takes(self, call: Call) -> bool:
        if self.times > 0 and re.search(self.pattern, f"{call.method} {call.path}"):
            self.times -= 1
            return True
        return False

    def raised(self) -> Refused:
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        return Refused(self.status, self.code, self.message, headers)


async def answer(send: Any, status: int, headers: Mapping[str, str], body: bytes) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def read(scope: Any, receive: Any) -> Call | None:
    """Read a request; None when the caller went away before its end."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    query = parse_qs(scope["query_string"].decode())
    return Call(scope["method"], unquote(scope["path"]), query, headers, bytes(body))


def parts_of(body: bytes, boundary: str) -> Iterator[Part]:
    limits = {"max_segment_count": 100_000, "max_segment_size": 2**30}
    with PushMultipartParser(boundary, content_length=len(body), **limits) as parser:
        segment: MultipartSegment | None = None
        data = bytearray()
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                segment, data = event, bytearray()
            elif event:
                data += event
            elif segment is not None:
                headers = {name.lower(): value for name, value in segment.headerlist}
                yield Part(segment.name, segment.filename, headers.get("content-type"), bytes(data))
