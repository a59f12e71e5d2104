"""How a service runs as a process of its own."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Protocol

import asyncpg
import uvloop

from shared.adapters.postgres.migrate import migrate
from shared.contracts.errors import ZepidError
from shared.outage import insist
from shared.pulse import Pulse
from shared.resources import Resources, open_resources
from shared.settings import InvalidSettings, Settings, load_settings
from shared.telemetry import configure_logs, configure_traces, flush_traces, log

READY_FD = "READY_FD"
"""Environment variable: the number of a pipe that is told when the service works."""
_AGAIN_SECONDS = 1.0


class CannotStart(ZepidError):
    """A service can't do its work here, however often it is tried; the message says what to change."""


class Service(Protocol):
    """Something that runs until it is told to stop."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish what was begun and return."""
        ...


Create = Callable[[Resources], Service]


def run_alone(name: str, create: Create) -> None:
    """Run one service until SIGTERM or SIGINT; exits with 2 and one line when a setting is wrong."""
    try:
        settings = load_settings()
    except InvalidSettings as error:
        sys.exit(f"zepid {name}: {error}")
    configure_logs(settings.log_level)
    configure_traces(name)
    try:
        uvloop.run(_serve(name, create, settings))
    except ZepidError as error:
        sys.exit(f"zepid {name}: {error.message}. {error.code.hint}")
    finally:
        flush_traces()


async def _serve(name: str, create: Create, settings: Settings) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    async with contextlib.AsyncExitStack() as stack:
        resources = await _opened(settings, name, stack, stopping)
        if resources is None:
            return
        service = create(resources)
        gc.collect()
        gc.freeze()  # what is there now stays: collections need not go through it again and again
        log.info("service started", service=name)
        _say_ready()
        beating = asyncio.create_task(Pulse(resources.bus, {name: service}).run(stopping))
        try:
            await service.run(stopping)
        finally:
            stopping.set()
            await beating
        log.info("service stopped", service=name)


async def _opened(
    settings: Settings, name: str, stack: contextlib.AsyncExitStack, stopping: asyncio.Event
) -> Resources | None:
    """Wait for broker and database if they are away just now; None when told to stop meanwhile."""

    async def opening() -> Resources:
        try:
            await insist(partial(migrate, settings.postgres_url))
        except asyncpg.PostgresError as error:
            raise ZepidError("SERVICE_UNAVAILABLE", f"the database at POSTGRES_URL refuses: {error}") from error
        return await insist(lambda: stack.enter_async_context(open_resources(settings, name)))

    opened = asyncio.create_task(opening())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({opened, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if opened.done():
        return opened.result()
    opened.cancel()
    await asyncio.wait({opened})
    return None


def _say_ready() -> None:
    """Tell the process that supervises this one, if it listens."""
    if number := os.environ.get(READY_FD):
        os.write(int(number), b"\n")
        os.close(int(number))


def stop_on_signals(stopping: asyncio.Event) -> None:
    """Set `stopping` at the first SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)


async def run_together(services: dict[str, Service], stopping: asyncio.Event) -> None:
    """Run services until `stopping` is set; a defect of one is logged and that one runs again.

    Raises:
        CannotStart: a service can't do its work here; the others were stopped.
    """
    tasks = {asyncio.create_task(_keep_running(name, service, stopping)) for name, service in services.items()}
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stopping.set()
    if rest:
        await asyncio.wait(rest)
    for task in done | rest:
        task.result()


async def _keep_running(name: str, service: Service, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            return await service.run(stopping)
        except CannotStart:
            raise
        except Exception:  # noqa: BLE001 - the boundary: what one service did not foresee must not end the others
            log.exception("service failed and runs again", service=name)
        await sleep_or_stop(stopping, _AGAIN_SECONDS)


async def sleep_or_stop(stopping: asyncio.Event, seconds: float) -> None:
    """Wait `seconds`, or until `stopping` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
