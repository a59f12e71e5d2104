"""Every running service says that it lives: who, since when, how much it works on. Told to whoever listens."""

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import msgspec

from shared.adapters.jetstream.bus import Bus
from shared.adapters.jetstream.consumer import BROKER_AWAY
from shared.contracts import subjects
from shared.telemetry import SERVICE_VERSION, log

BEAT_SECONDS = 5.0
_encode = msgspec.json.Encoder().encode


@runtime_checkable
class Busy(Protocol):
    """A service that can say how much it works on."""

    @property
    def in_flight(self) -> int:
        """How many commands or requests it works on now."""
        ...


class Alive(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What one instance of a service says of itself.

    Attributes:
        instance: tells it from the others of its name: host, process, and a part of its own.
        started_at: seconds since 1970.
        in_flight: commands or requests it works on, None where it does not count them.
    """

    service: str
    instance: str
    version: str
    started_at: float
    in_flight: int | None = None


class Pulse:
    """The heartbeat of the services of one process; itself a service."""

    def __init__(self, bus: Bus, services: Mapping[str, object]) -> None:
        self._bus = bus
        self._services = services
        self._instance = f"{socket.gethostname().split('.')[0]}-{os.getpid()}-{secrets.token_hex(2)}"
        self._started_at = time.time()

    async def run(self, stopping: asyncio.Event) -> None:
        """Beat until `stopping` is set; a broker that is away hears nothing, which is what it means."""
        while not stopping.is_set():
            try:
                await self._beat()
            except BROKER_AWAY as error:
                log.debug("heartbeat not heard", error=repr(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), BEAT_SECONDS)

    async def _beat(self) -> None:
        for name, service in self._services.items():
            alive = Alive(
                service=name,
                instance=self._instance,
                version=SERVICE_VERSION,
                started_at=self._started_at,
                in_flight=service.in_flight if isinstance(service, Busy) else None,
            )
            await self._bus.client.publish(subjects.alive(name, self._instance), _encode(alive))
