"""The least that serves files: answers made beforehand, found by path (the floor of `zepid bench edge`).

`python -m services.cli.benches.bare_app` reads them from the file that `BENCH_ANSWERS` names.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from shared.http_service import HttpService, live
from shared.resources import Resources
from shared.service import Service, run_alone


class Kept(msgspec.Struct, frozen=True):
    """An answer, word for word as the edge gave it."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


def create(resources: Resources) -> Service:
    """Make the service, on the server that the edge has."""
    answers = msgspec.msgpack.decode(Path(os.environ["BENCH_ANSWERS"]).read_bytes(), type=dict[str, Kept])
    return HttpService("floor", _app(answers), resources.settings.host, resources.settings.port)


def _app(answers: dict[str, Kept]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await live(receive, send)
        kept = answers[scope["path"]]
        await send({"type": "http.response.start", "status": 200, "headers": kept.headers})
        await send({"type": "http.response.body", "body": kept.body})

    return app


if __name__ == "__main__":
    run_alone("floor", create)
