"""The platform's side of access, for tests: a JWKS address and a session endpoint over real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey, RSAKey

from tests.stand import eventually

ISSUER = "https://id.platform.example"
AUDIENCE = "zepid"


@dataclass
class Platform:
    """What it answers, and what it was asked.

    Attributes:
        keys: the key pairs whose public halves it publishes.
        sessions: cookie → body of the session endpoint.
        broken: every answer is 500.
        cookies: the `Cookie` header of each call to the session endpoint.
        fetched: how often the keys were fetched.
    """

    url: str = ""
    keys: list[Key] = field(default_factory=lambda: [new_key("RSA", "k1")])
    sessions: dict[str, Any] = field(default_factory=dict)
    broken: bool = False
    cookies: list[str] = field(default_factory=list)
    fetched: int = 0

    def token(
        self, key: Key | None = None, alg: str = "RS256", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """Return a token of Ada's that may deploy for `acme`, with changed claims; None leaves one out."""
        key = key or self.keys[0]
        now = int(time.time())
        whole = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 300, "iat": now,
            "org": {"id": "acme"}, "scope": "openid deploy", **claims,
        }  # fmt: skip
        given = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(header or {"alg": alg, "kid": key.kid}, given, key, algorithms=[alg])

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, body = (500, {}) if self.broken else self._answer(scope["path"], headers.get("cookie", ""))
        kept = (b"set-cookie", b"sid=somebody-elses; Path=/")
        await send({"type": "http.response.start", "status": status, "headers": [kept]})
        await send({"type": "http.response.body", "body": msgspec.json.encode(body)})

    def _answer(self, path: str, cookie: str) -> tuple[int, Any]:
        if path == "/jwks":
            self.fetched += 1
            unknown = {"kty": "AKP", "alg": "ML-DSA-44", "kid": "future", "pub": "AA"}
            return 200, {"keys": [unknown, *KeySet(self.keys).as_dict(private=False)["keys"]]}
        self.cookies.append(cookie)
        return 200, self.sessions.get(cookie.removeprefix("sid="))


def new_key(kind: str, key_id: str) -> Key:
    """Return a new key pair of a kind: RSA, EC, OKP, or a secret: oct."""
    parameters: Any = {"kid": key_id}
    match kind:
        case "RSA":
            return RSAKey.generate_key(2048, parameters)
        case "EC":
            return ECKey.generate_key("P-256", parameters)
        case "OKP":
            return OKPKey.generate_key("Ed25519", parameters)
        case _:
            return OctKey.generate_key(256, parameters)


@asynccontextmanager
async def running_platform() -> AsyncIterator[Platform]:
    """Serve on a free port of the loopback."""
    platform = Platform()
    server = uvicorn.Server(uvicorn.Config(platform, port=0, log_config=None, lifespan="off", ws="none"))
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        platform.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield platform
    finally:
        server.should_exit = True
        await task
