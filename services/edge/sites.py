"""Which release a site's pointer names, from memory, and told by the database when one moves.

A site is asked for by its name, which has no dot, or by a custom domain, which has.
"""

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg

from services.edge.queries import ANSWER_SECONDS, POINTER, fetch
from shared.adapters.postgres.database import DATABASE_FAILED
from shared.contracts.errors import ZepidError
from shared.telemetry import log

CHANNEL = "site_changed"
MOST_SITES = 10_000
TRUSTED_SECONDS = 1.0
"""How long an answer is believed while the database would tell of a change: a connection may be dead unnoticed."""
UNTOLD_SECONDS = 0.5
"""How long while it would not."""
UNKNOWN_SECONDS = 1.0
"""How long a site counts as unknown, and how long an old answer serves while the database is away."""
PING_SECONDS = 2.0


class Pointer(NamedTuple):
    """A site's release, None before the first, and those it replaced of late, the last one first."""

    site: str
    release: str | None
    earlier: tuple[str, ...]


class _Held(NamedTuple):
    pointer: Pointer | None
    until: float


class Sites:
    """The pointers. A switch is seen at once; while the database is away the last answer serves."""

    def __init__(self, pool: asyncpg.Pool, earlier_seconds: float) -> None:
        """Prepare; a release that was replaced within `earlier_seconds` still counts as an earlier one."""
        self._pool = pool
        self._earlier_seconds = earlier_seconds
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Pointer | None]] = {}
        self._listening = False
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen for switches."""
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})

    async def pointer(self, site: str) -> Pointer | None:
        """Return the pointer of a site or of the site of a custom domain, or None where neither is known.

        Raises:
            ZepidError: SERVICE_UNAVAILABLE, the database is away and the site was never asked for.
        """
        held = self._held.get(site)
        if held is not None and held.until > time.monotonic():
            return held.pointer
        asking = self._asking.get(site)
        if asking is None:
            asking = self._asking[site] = asyncio.create_task(self._ask(site))
        return await asyncio.shield(asking)

    async def _ask(self, site: str) -> Pointer | None:
        try:
            row = await fetch(self._pool, POINTER, site, self._earlier_seconds)
        except ZepidError:
            held = self._held.get(site)
            if held is None:
                raise
            self._keep(site, held.pointer, UNKNOWN_SECONDS)
            return held.pointer
        else:
            pointer = Pointer(row["name"], row["release_id"], tuple(row["earlier"])) if row else None
            trusted = TRUSTED_SECONDS if self._listening else UNTOLD_SECONDS
            self._keep(site, pointer, trusted if pointer else min(trusted, UNKNOWN_SECONDS))
            return pointer
        finally:
            if self._asking.get(site) is asyncio.current_task():
                del self._asking[site]

    def _keep(self, site: str, pointer: Pointer | None, seconds: float) -> None:
        """Hold an answer, unless the site has moved since it was asked for."""
        if self._asking.get(site) is not asyncio.current_task():
            return
        self._held[site] = _Held(pointer, time.monotonic() + seconds)
        self._held.move_to_end(site)
        if len(self._held) > MOST_SITES:
            self._held.popitem(last=False)

    def _doubt(self, site: str) -> None:
        """Ask again at the next request; the old answer stays for the case that nobody replies."""
        self._asking.pop(site, None)
        if site in self._held:
            self._held[site] = _Held(self._held[site].pointer, 0.0)

    def _doubt_all(self) -> None:
        self._asking.clear()
        for site in self._held:
            self._doubt(site)

    async def _listen(self) -> None:
        """Hear of switches until cancelled; around every gap in listening all answers are doubted."""
        while True:
            try:
                async with self._pool.acquire(timeout=ANSWER_SECONDS) as connection:
                    await self._hear(connection)
            except DATABASE_FAILED as error:
                log.warning("the edge does not hear of switches", error=type(error).__name__)
            finally:
                self._listening = False
                self._doubt_all()
            await asyncio.sleep(UNTOLD_SECONDS)

    async def _hear(self, connection: Any) -> None:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(CHANNEL, self._moved)
        try:
            self._listening = True
            self._doubt_all()
            while not lost.is_set():
                await connection.fetchval("select 1", timeout=ANSWER_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), PING_SECONDS)
        finally:
            if not connection.is_closed():
                await connection.remove_listener(CHANNEL, self._moved)

    def _moved(self, _connection: object, _process: int, _channel: str, site: object) -> None:
        self._doubt(str(site))
