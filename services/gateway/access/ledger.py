"""What is written down behind the requests: who did what, and when a key was last used."""

import asyncio
import contextlib
import time
from collections import deque

import msgspec

from shared.adapters.postgres.audit import Audit, AuditEntry
from shared.adapters.postgres.database import DATABASE_FAILED
from shared.adapters.postgres.tokens import Tokens
from shared.telemetry import log

_PAUSE_SECONDS = 0.5
_USE_SECONDS = 10.0
"""A key's last use is written this often at most."""
_BATCH = 500
_MOST_WAITING = 20_000
_LAST_SECONDS = 2.0


class Ledger:
    """Writes in batches, in the background: no request waits for it, none fails with it.

    While the database is away entries wait in memory; what does not fit there, or is left when the gateway stops,
    goes to the log, so that it is lost only with the process that is killed.
    """

    def __init__(self, audit: Audit, tokens: Tokens) -> None:
        self._audit = audit
        self._tokens = tokens
        self._entries: deque[AuditEntry] = deque()
        self._used: dict[str, float] = {}
        self._used_written_at = float("-inf")
        self._writing: asyncio.Task[None] | None = None

    def note(self, entry: AuditEntry) -> None:
        """Keep an entry until it is written."""
        if len(self._entries) >= _MOST_WAITING:
            _log(self._entries.popleft())
        self._entries.append(entry)

    def key_used(self, key_id: str) -> None:
        """Remember that a key was used just now."""
        self._used[key_id] = time.time()

    def start(self) -> None:
        """Begin to write."""
        self._writing = asyncio.create_task(self._keep_writing(), name="audit")

    async def stop(self) -> None:
        """Write what is left, for a moment."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait({self._writing})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._write(last=True)
        while self._entries:
            _log(self._entries.popleft())

    async def _keep_writing(self) -> None:
        while True:
            await self._write()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _write(self, *, last: bool = False) -> None:
        try:
            await self._write_entries()
            if last or time.monotonic() - self._used_written_at > _USE_SECONDS:
                await self._write_uses()
        except DATABASE_FAILED as error:
            log.warning("audit waits for the database", waiting=len(self._entries), error=repr(error))

    async def _write_entries(self) -> None:
        """Take entries from the queue when they are written."""
        while self._entries:
            batch = [self._entries[number] for number in range(min(_BATCH, len(self._entries)))]
            await self._audit.record(batch)
            written = {entry.id for entry in batch}
            while self._entries and self._entries[0].id in written:
                self._entries.popleft()

    async def _write_uses(self) -> None:
        if self._used:
            await self._tokens.record_use(self._used)
            self._used = {}
        self._used_written_at = time.monotonic()


def _log(entry: AuditEntry) -> None:
    log.warning("audit entry not stored", **msgspec.to_builtins(entry))
