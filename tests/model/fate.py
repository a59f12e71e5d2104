"""What befalls one process: nothing, a crash at one of its effects, or a long pause there."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.adapters.postgres.deployments import Deployments

T = TypeVar("T")
_WRITES = {"accept", "admit", "end", "free", "insert_release", "point_to", "count_repairs"}


class Crash(BaseException):
    """The process is killed: nothing catches this, and nothing it does afterwards has an effect."""


@dataclass
class Fate:
    """Counts the effects of one process and strikes at the one chosen.

    `kind` is `none`, `before` or `after` (killed just before or after the effect), or `pause`
    (stopped just before it, until resumed). A handler may pause too, by `stand_still`.
    """

    kind: str = "none"
    at: int = 0
    count: int = 0
    dead: bool = False
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    resumed: asyncio.Event = field(default_factory=asyncio.Event)

    async def effect(self, perform: Callable[[], Awaitable[T]]) -> T:
        await self._wait_while_paused()
        self.count += 1
        strikes = self.count == self.at
        if strikes and self.kind == "before":
            self.die()
        if strikes and self.kind == "pause":
            await self.stand_still()
        result = await perform()
        if strikes and self.kind == "after":
            self.die()
        return result

    async def stand_still(self) -> None:
        self.paused.set()
        await self._wait_while_paused()

    def die(self) -> None:
        self.dead = True
        raise Crash

    def resume(self) -> None:
        self.paused.clear()
        self.resumed.set()

    async def _wait_while_paused(self) -> None:
        if self.paused.is_set():
            await self.resumed.wait()
        if self.dead:
            raise Crash


class MortalDeployments:
    """The real `Deployments`, whose writes are effects of one process; rows come in a fixed order."""

    def __init__(self, real: Deployments, fate: Fate, wrote: Callable[[str, tuple[Any, ...], Any], None]) -> None:
        self._real = real
        self._fate = fate
        self._wrote = wrote

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        async def call(*args: Any, **named: Any) -> Any:
            result = await method(*args, **named)
            return sorted(result, key=lambda row: row.id) if isinstance(result, list) else result

        if name not in _WRITES:
            return call

        async def write(*args: Any, **named: Any) -> Any:
            async def perform() -> Any:
                result = await call(*args, **named)
                self._wrote(name, args, result)
                return result

            return await self._fate.effect(perform)

        return write
