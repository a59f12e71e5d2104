"""Which services run: gathered from their heartbeats, without asking database or stream."""

import time

import msgspec
from nats.aio.msg import Msg

from shared.adapters.jetstream.bus import Bus
from shared.contracts import subjects
from shared.pulse import BEAT_SECONDS, Alive
from shared.telemetry import log
from shared.times import iso_time

GONE_SECONDS = 12 * BEAT_SECONDS
"""An instance that was not heard for so long is not shown any more."""
_decode = msgspec.json.Decoder(Alive).decode


class Instance(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One running instance of a service; `in_flight` commands or requests are being worked on."""

    instance: str
    version: str
    started_at: str
    last_seen: str
    in_flight: int | None = None


class Instances:
    """What was heard lately."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, str], tuple[float, Alive]] = {}

    async def listen(self, bus: Bus) -> None:
        """Hear every heartbeat from now on."""
        await bus.client.subscribe(subjects.ALIVE, cb=self._hear)

    def by_service(self) -> dict[str, list[Instance]]:
        """Return who was heard in the last minute: service → its instances."""
        oldest = time.time() - GONE_SECONDS
        self._heard = {key: heard for key, heard in self._heard.items() if heard[0] >= oldest}
        services: dict[str, list[Instance]] = {}
        for (name, _), (at, alive) in sorted(self._heard.items()):
            shown = Instance(
                instance=alive.instance,
                version=alive.version,
                started_at=iso_time(alive.started_at),
                last_seen=iso_time(at),
                in_flight=alive.in_flight,
            )
            services.setdefault(name, []).append(shown)
        return services

    async def _hear(self, message: Msg) -> None:
        try:
            alive = _decode(message.data)
        except msgspec.DecodeError as error:
            log.warning("heartbeat not understood", subject=message.subject, error=str(error))
            return
        self._heard[alive.service, alive.instance] = time.time(), alive
