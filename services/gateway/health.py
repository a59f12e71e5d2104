"""Whether what the gateway leans on answers: asked for real, at most once a second."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec

from shared.adapters.jetstream.bus import Bus
from shared.adapters.postgres.overview import Overview
from shared.ports import Objects
from shared.telemetry import log

_KEPT_SECONDS = 1.0
_LIMIT_SECONDS = 2.0


class Check(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one dependency answered; `status` is healthy or unhealthy."""

    status: str
    latency_ms: float
    message: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether the dependency does its work."""
        return self.status == "healthy"


class Health:
    """The checks of database, queue and storage; each may take 2 seconds, all run at once."""

    def __init__(self, overview: Overview, bus: Bus, storage: Objects) -> None:
        self._bus = bus
        self._storage = storage
        self._probes: dict[str, Callable[[], Awaitable[None]]] = {
            "database": overview.ping,
            "queue": self._ask_broker,
            "storage": self._write_and_read,
        }
        self._probe_key = f"health/{secrets.token_hex(8)}"
        self._started_at = time.monotonic()
        self._asking = asyncio.Lock()
        self._answers: dict[str, Check] = {}
        self._asked_at = float("-inf")

    @property
    def uptime_ms(self) -> int:
        """Milliseconds since this gateway was made."""
        return round((time.monotonic() - self._started_at) * 1000)

    async def checks(self) -> dict[str, Check]:
        """Return what each dependency answered, not older than a second."""
        async with self._asking:
            if time.monotonic() - self._asked_at > _KEPT_SECONDS:
                answers = await asyncio.gather(*(self._ask(name, probe) for name, probe in self._probes.items()))
                self._answers = dict(zip(self._probes, answers, strict=True))
                self._asked_at = time.monotonic()
            return self._answers

    async def _ask(self, name: str, probe: Callable[[], Awaitable[None]]) -> Check:
        start = time.monotonic()
        message = None
        try:
            async with asyncio.timeout(_LIMIT_SECONDS):
                await probe()
        except TimeoutError:
            message = f"no answer within {_LIMIT_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - whatever a dependency raises means that it is not healthy
            log.warning("unhealthy", dependency=name, error=repr(error))
            message = "not usable; the service's log says why"
        latency = round((time.monotonic() - start) * 1000, 2)
        return Check("unhealthy" if message else "healthy", latency, message)

    async def _ask_broker(self) -> None:
        if not self._bus.client.is_connected:
            raise ConnectionError("not connected to the broker")
        await self._bus.jetstream.stream_info(self._bus.settings.deployment_queue_name)

    async def _write_and_read(self) -> None:
        written = secrets.token_bytes(16)
        await self._storage.put(self._probe_key, written)
        if await self._storage.get(self._probe_key) != written:
            raise OSError("the object store returned something else than was written")
