"""Gives free slots to waiting deployments: at each request, whenever a slot is freed, and every few seconds."""

import asyncio
import time

import asyncpg

from shared.adapters.jetstream.bus import Bus
from shared.adapters.jetstream.consumer import Consumer
from shared.adapters.postgres.deployments import AdmittedRow, Deployments
from shared.commands import first_command
from shared.contracts.events import Admitted
from shared.contracts.subjects import EVENT_STREAM
from shared.outage import AWAY
from shared.resources import Resources
from shared.service import Service, sleep_or_stop
from shared.settings import Settings
from shared.telemetry import log, span

TICK_SECONDS = 3.0


def create(resources: Resources) -> Service:
    """Make the service."""
    return Intake(resources.bus, resources.deployments, resources.settings)


class Intake:
    """Wake-ups are only hints: each makes one guarded SQL statement decide who may start."""

    def __init__(self, bus: Bus, deployments: Deployments, settings: Settings) -> None:
        self._bus = bus
        self._deployments = deployments
        self._settings = settings

    async def run(self, stopping: asyncio.Event) -> None:
        """Admit until `stopping` is set."""
        async with (
            self._bus.consumer(self._settings.deployment_queue_name, "intake") as requests,
            self._bus.consumer(EVENT_STREAM, "admission") as freed,
        ):
            await asyncio.gather(
                self._admit_at_each(requests, stopping, acknowledge=True),
                self._admit_at_each(freed, stopping, acknowledge=False),
                self._admit_regularly(stopping),
            )

    async def _admit_at_each(self, hints: Consumer, stopping: asyncio.Event, *, acknowledge: bool) -> None:
        while not stopping.is_set():
            settings = self._settings
            batch = await hints.poll(settings.max_batch_size, settings.max_batch_timeout, stopping)
            if batch:
                await self._admit()
            if acknowledge:
                for hint in batch:
                    await hint.ack()

    async def _admit_regularly(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._admit()
            await sleep_or_stop(stopping, TICK_SECONDS)

    async def _admit(self) -> None:
        """Give out the free slots; what can't be published now the reconciler publishes later."""
        settings = self._settings
        try:
            admitted = await self._deployments.admit(
                settings.max_concurrent_deployments,
                settings.max_concurrent_per_organization,
                settings.deadline_seconds,
            )
            await asyncio.gather(*(self._start(row) for row in admitted))
        except (*AWAY, asyncpg.PostgresError) as error:
            log.warning("admission postponed", error=repr(error))

    async def _start(self, row: AdmittedRow) -> None:
        command = first_command(row)
        event = Admitted(deployment_id=row.id, actor="intake", at=time.time(), next=command)
        with span("intake", row.traceparent, attributes={"zepid.deployment.id": row.id}):
            await asyncio.gather(self._bus.send(command, row.traceparent), self._bus.record(event, row.traceparent))
        log.info("admitted", deployment=row.id)
