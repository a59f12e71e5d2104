"""One run: load and storm together, the end of everything, what is left."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import typer

from services.cli.benches.chaos.audit import Violation, audit
from services.cli.benches.chaos.facts import Facts, read_facts
from services.cli.benches.chaos.faults import Storm
from services.cli.benches.chaos.leftovers import leftovers
from services.cli.benches.chaos.load import Load
from services.cli.benches.chaos.served import served
from services.cli.benches.chaos.stack import Stack
from services.cli.benches.chaos.watch import Watch
from shared.adapters.sandboxes import open_sandboxes

RECOVERY_SECONDS = 60.0
"""How long after the last fault everything that was accepted before it must be over."""
LONGEST_STORM_SECONDS = 900.0
_GIVEN_UP_SECONDS = 300.0
_QUIET_SECONDS = 90.0
"""How long the services may take to archive logs and to tidy up when everything has ended."""
_LOOK_SECONDS = 0.25
_SHOWN_EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Run:
    """What takes part.

    Attributes:
        tidied: half-made folders of killed processes, which the reconciler would have removed a little later.
    """

    stack: Stack
    load: Load
    storm: Storm
    watch: Watch
    tidied: list[str] = field(default_factory=list)

    async def play(self) -> Facts:
        """Break everything, wait until all is over and tidy; return what there is then."""
        async with self._shown():
            loading = asyncio.create_task(self.load.run())
            try:
                await self._break_everything(loading)
                await self._settle(loading)
            finally:
                loading.cancel()
            return await self._quiet()

    async def audit(self, facts: Facts) -> list[Violation]:
        """Return everything that is not as it must be."""
        return [
            *(Violation("client", complaint) for complaint in self.load.complaints),
            *(Violation("table", sentence) for sentence in sorted(self.watch.broken)),
            *self._late(facts),
            *audit(facts, self.load, {struck.name for struck in self.storm.struck}),
            *await served(self.stack, self.load.api, facts, self.load),
            *leftovers(self.stack),
        ]

    def over_after(self) -> float:
        """Seconds from the last fault until everything was over; 0 when it was before."""
        return max(0.0, max(self.watch.over_at.values(), default=0.0) - self.storm.last_at)

    async def _break_everything(self, loading: "asyncio.Task[None]") -> None:
        """Until the last order is accepted, or the storm has lasted long enough."""
        stopping = asyncio.Event()
        posted = asyncio.create_task(self.load.all_posted.wait())
        watching = asyncio.create_task(self.watch.run())
        storm = asyncio.create_task(self.storm.run(stopping))
        try:
            await asyncio.wait(
                {posted, loading, storm}, timeout=LONGEST_STORM_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            stopping.set()
            await storm
        finally:
            for task in (posted, watching, storm):
                task.cancel()
            await asyncio.wait({posted, watching, storm})

    async def _settle(self, loading: "asyncio.Task[None]") -> None:
        """Wait until all is over, in the table and for the clients."""
        deadline = time.monotonic() + _GIVEN_UP_SECONDS
        while not await self.watch.look() or not loading.done():
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if loading.done():
            loading.result()
        else:
            self.load.complaints.append(f"clients still waited {_GIVEN_UP_SECONDS:.0f} s after the last fault")

    async def _quiet(self) -> Facts:
        """Give the services time to tidy up; return what there is then."""
        deadline = time.monotonic() + _QUIET_SECONDS
        while True:
            facts = await read_facts(self.stack)
            busy = facts.queued or any(facts.unacknowledged.values()) or facts.unarchived
            if not busy:
                self.tidied.extend(await open_sandboxes(self.stack.settings).tidy(0.0))
            if (not busy and not leftovers(self.stack)) or time.monotonic() > deadline:
                return facts
            await asyncio.sleep(_LOOK_SECONDS * 4)

    def _late(self, facts: Facts) -> Iterator[Violation]:
        last = self.storm.last_at
        for row in facts.deployments:
            over_at = self.watch.over_at.get(row["id"], last)
            late = over_at - max(last, row["accepted_at"].timestamp())
            if late > RECOVERY_SECONDS:
                yield Violation(row["id"], f"was over {late:.0f} s after the last fault")

    @asynccontextmanager
    async def _shown(self) -> AsyncIterator[None]:
        """Show how it goes: on a terminal all the time, else every few seconds."""
        showing = asyncio.create_task(self._show(live=sys.stderr.isatty()))
        try:
            yield
        finally:
            showing.cancel()
            if sys.stderr.isatty():
                typer.echo(err=True)

    async def _show(self, *, live: bool) -> None:
        began = time.monotonic()
        while True:
            line = (
                f"{time.monotonic() - began:4.0f} s  {self.load.ended}/{self.load.total} ended, "
                f"{len(self.load.sent)} accepted, {len(self.storm.struck)} faults"
            )
            typer.echo(f"\r{line}  " if live else line, nl=not live, err=True)
            await asyncio.sleep(_LOOK_SECONDS if live else _SHOWN_EVERY_SECONDS)
