"""The conformance table of static assets, read from `conformance/static_assets`, and how a server is asked by it."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpcore

from shared.assets import HEADERS, IGNORE, REDIRECTS
from shared.hosting import AssetRules, Hosting

_FOLDER = Path(__file__).parent / "conformance" / "static_assets"
_LOOP = re.compile(r"^for (\d+)\.\.(\d+): (.*)$", re.MULTILINE)
_PART = re.compile(r"(?P<file>.+)\[(?P<start>\d+):(?P<end>\d+)\]")
_METHOD = re.compile(r"[A-Z]+ ")
_BETWEEN_HEADERS = re.compile(r"; (?=!|[\w-]+: )")

COMPATIBILITY_DATE = "2025-05-01"


class Seen(NamedTuple):
    """An answer: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Row(NamedTuple):
    """A request and its answer: `sent` names the file or its part, "" where the body does not matter."""

    line: str
    method: str
    path: str
    headers: dict[str, str]
    status: int
    sent: str
    expected: dict[str, str]
    absent: tuple[str, ...]


class Site(NamedTuple):
    """Files by path, how they are served, and what is asked of them; `reason` says why workerd is not asked."""

    name: str
    files: dict[str, bytes]
    rules: AssetRules
    rows: tuple[Row, ...]
    reason: str

    @property
    def hosting(self) -> Hosting:
        """The site's configuration as a release carries it."""
        return Hosting(COMPATIBILITY_DATE, assets=self.rules)

    def body_of(self, sent: str) -> bytes:
        """Return the bytes that a row names."""
        if part := _PART.fullmatch(sent):
            return self.files[part["file"]][int(part["start"]) : int(part["end"])]
        return self.files[sent]

    def fault(self, row: Row, seen: Seen) -> str:
        """Return what of an answer is not as the table says, or ""."""
        said = {name: seen.headers.get(name) for name in (*row.expected, *row.absent)}
        wanted = {**row.expected, **dict.fromkeys(row.absent)}
        if seen.status != row.status or said != wanted:
            return f"{self.name}: {row.line}\n  answered {seen.status} {said}"
        if row.sent and seen.body != self.body_of(row.sent):
            return f"{self.name}: {row.line}\n  sent {seen.body[:60]!r}"
        return ""


def sites() -> list[Site]:
    """Return every site of the table."""
    tables = [tomllib.loads(path.read_text()) for path in sorted(_FOLDER.glob("*.toml"))]
    return [_site(found) for table in tables for found in table["site"]]


def _site(found: Mapping[str, Any]) -> Site:
    paths = found["files"].split() if isinstance(found["files"], str) else found["files"]
    sizes = found.get("sizes", {})
    files = {path: (path.encode() * sizes.get(path, 1))[: sizes.get(path)] for path in paths}
    for name, key in ((HEADERS, "headers"), (REDIRECTS, "redirects"), (IGNORE, "ignore")):
        if key in found:
            files[name] = _LOOP.sub(_unrolled, found[key]).encode()
    rules = AssetRules(found.get("html_handling"), found.get("not_found_handling"))
    return Site(found["name"], files, rules, tuple(_rows(found["requests"])), found.get("reason", ""))


def _unrolled(loop: re.Match[str]) -> str:
    numbers = range(int(loop[1]), int(loop[2]) + 1)
    return "\n".join(loop[3].replace("{n}", str(number)).replace(" ⏎ ", "\n") for number in numbers)


def _rows(text: str) -> Iterator[Row]:
    for line in text.strip().splitlines():
        request, headers, status, sent, expected = (column.strip() for column in line.split("|"))
        method = _METHOD.match(request)
        said = [pair for pair in _BETWEEN_HEADERS.split(expected) if pair]
        yield Row(
            line,
            method[0].strip() if method else "GET",
            request[method.end() if method else 0 :],
            dict(pair.split(": ", 1) for pair in headers.split("; ") if pair),
            int(status),
            sent,
            dict(pair.split(": ", 1) for pair in said if not pair.startswith("!")),
            tuple(pair[1:] for pair in said if pair.startswith("!")),
        )


class Asker:
    """Sends the requests of one site, their paths exactly as written, to a port of this host."""

    def __init__(self, pool: httpcore.AsyncConnectionPool, port: int, host: str) -> None:
        self._pool = pool
        self._port = port
        self._host = host

    async def ask(self, row: Row) -> Seen:
        """Return the answer to a row; where it wants the path's entity tag, after asking for that."""
        headers = dict(row.headers)
        if any("{etag}" in value for value in headers.values()):
            plain = {name: value for name, value in headers.items() if name in ("host", "accept-encoding")}
            tag = (await self._ask("GET", row.path, plain)).headers["etag"]
            headers = {name: value.replace("{etag}", tag) for name, value in headers.items()}
        return await self._ask(row.method, row.path, headers)

    async def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> Seen:
        url = httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=self._port, target=path.encode())
        sent = {"host": self._host, "accept-encoding": "identity", **headers}
        answer = await self._pool.request(method, url, headers=[(k.encode(), v.encode()) for k, v in sent.items()])
        said: dict[str, str] = {}
        for name, value in ((name.decode().lower(), value.decode()) for name, value in answer.headers):
            said[name] = f"{said[name]}, {value}" if name in said else value
        return Seen(answer.status, said, answer.content)
