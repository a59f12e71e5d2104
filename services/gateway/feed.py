"""Live reading of one stream for many watchers.

A hint tells a watcher that its deployment has something new. What that is, the watcher reads from the stream itself,
after the last sequence it has seen: so nothing can be lost, overflow or arrive out of order, and a missed hint only
delays. Watchers that are at the same place share the read and what is decoded of it.

Where messages are small they come with the hint, and a watcher that has read all before takes them as they are. When
one may have been missed, everyone reads.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from services.gateway.hints import Hints
from services.gateway.watch import Watch
from shared.adapters.jetstream.bus import Bus, Stored
from shared.contracts import subjects
from shared.contracts.errors import ZepidError
from shared.telemetry import log

QUIET_SECONDS = 14.0
"""With the second that a watcher takes to settle, what keeps a stream alive is sent every 15 seconds."""
_RETRY_SECONDS = 1.0
_LAG_SECONDS = 0.05
"""How far a replica that answers reads may be behind the one that told us."""

News = TypeVar("News")


class _Place(NamedTuple):
    """Where in the stream a watcher of a deployment is."""

    deployment_id: str
    after: int


class Feed(Generic[News]):
    """New messages of one stream, by deployment.

    Args:
        bus: the connection.
        stream: name of the stream.
        everything: the filter of all deployments' messages.
        of_deployment: gives the filter of one deployment's messages.
        decode: makes of a message what watchers get; done once for those who read it together.
        hands_over: hints bring whole messages, not only their headers.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        everything: str,
        of_deployment: Callable[[str], str],
        decode: Callable[[Stored], News],
        *,
        hands_over: bool = False,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._of_deployment = of_deployment
        self._decode = decode
        self._hands_over = hands_over
        self._hints = Hints(bus, stream, everything, self, whole=hands_over)
        self._reads: dict[_Place, asyncio.Task[list[tuple[int, News]]]] = {}
        self._watches: dict[str, set[Watch[News]]] = {}
        self._stopping = False

    def start(self) -> None:
        """Be told of news while there are watchers."""
        self._hints.start()

    async def stop(self) -> None:
        """End every `follow`."""
        self._stopping = True
        for watch in self._everyone():
            watch.hinted.set()
        await self._hints.stop()

    @property
    def watched(self) -> bool:
        """Whether anyone follows."""
        return bool(self._watches)

    async def follow(
        self, deployment_id: str, after: int = 0, until: "asyncio.Future[Any] | None" = None
    ) -> AsyncGenerator[Sequence[tuple[int, News]], None]:
        """Yield what the stream holds for a deployment after a sequence, then what is added, in order.

        Yields (sequence, decoded message) in batches; an empty one every 15 seconds without anything.
        A stream that was deleted and made again is followed from its start: its sequences are lower again.
        Ends when `until` is done, after what was stored before, or when the gateway stops.
        """
        with self._watch(deployment_id) as watch:
            while not self._stopping:
                last_round = until is not None and until.done()
                watch.hinted.clear()
                if watch.renumbered:
                    watch.renumbered, watch.known, after = False, 0, 0
                try:
                    messages = await self._news(watch, _Place(deployment_id, after), read=last_round)
                except ZepidError as error:
                    log.warning("feed interrupted", stream=self._stream, error=error.message)
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                if messages:
                    after = messages[-1][0]
                    yield messages
                elif last_round:
                    return
                if last_round or watch.hinted.is_set():
                    continue
                if after < watch.known:
                    watch.known = after
                    await asyncio.sleep(_LAG_SECONDS)
                elif not await self._wait(watch, until):
                    watch.start_over()
                    yield ()

    async def _news(self, watch: Watch[News], place: _Place, *, read: bool) -> Sequence[tuple[int, News]]:
        """Return what follows a place: what the watcher was handed, or what the stream holds."""
        handed = None if read else watch.take(place.after)
        if handed is not None:
            return handed
        if not (self._hands_over and watch.expect_news()):
            return await self._read(place)
        told = watch.known
        try:
            messages = await self._read_stream(place)
        except ZepidError:
            watch.start_over()
            raise
        if told > (messages[-1][0] if messages else place.after):
            watch.start_over()
        return messages

    async def _read(self, place: _Place) -> list[tuple[int, News]]:
        """Return what follows a place, by a read that is on its way for it already if there is one.

        Such a read may miss what was stored since it began; whoever was told of that reads once more.
        """
        reading = self._reads.get(place)
        if reading is None:
            reading = self._reads[place] = asyncio.create_task(self._read_stream(place))
            reading.add_done_callback(lambda done: self._forget(place, done))
        return await asyncio.shield(reading)

    async def _read_stream(self, place: _Place) -> list[tuple[int, News]]:
        stored = await self._bus.history(self._stream, self._of_deployment(place.deployment_id), place.after)
        return [(message.sequence, self._decode(message)) for message in stored]

    def _forget(self, place: _Place, reading: "asyncio.Task[list[tuple[int, News]]]") -> None:
        if self._reads.get(place) is reading:
            del self._reads[place]
        if not reading.cancelled() and (error := reading.exception()):
            log.debug("read failed", stream=self._stream, error=repr(error))

    async def _wait(self, watch: Watch[News], until: "asyncio.Future[Any] | None") -> bool:
        """Wait for a hint or for `until`; False when neither came for a while."""
        hint: asyncio.Future[Any] = asyncio.ensure_future(watch.hinted.wait())
        awaited = {hint, until} if until else {hint}
        try:
            done, _ = await asyncio.wait(awaited, timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return bool(done)
        finally:
            hint.cancel()

    @contextlib.contextmanager
    def _watch(self, deployment_id: str) -> Iterator[Watch[News]]:
        watch = Watch[News]()
        self._watches.setdefault(deployment_id, set()).add(watch)
        self._hints.wanted.set()
        try:
            yield watch
        finally:
            self._watches[deployment_id].discard(watch)
            if not self._watches[deployment_id]:
                del self._watches[deployment_id]
            if not self._watches:
                self._hints.wanted.clear()

    # What the hints say

    def hear(self, message: Stored) -> None:
        """Tell those who watch its deployment."""
        watches = self._watches.get(subjects.deployment_in(message.subject))
        if not watches:
            return
        news = None
        if self._hands_over:
            with contextlib.suppress(msgspec.MsgspecError):
                news = self._decode(message)
        for watch in watches:
            watch.tell(message.sequence, news)

    def miss(self, *, is_another: bool) -> None:
        """Let everyone read, and not from a read that began before."""
        self._reads.clear()
        for watch in self._everyone():
            watch.renumbered = watch.renumbered or is_another
            watch.start_over()

    def _everyone(self) -> list[Watch[News]]:
        return [watch for watches in self._watches.values() for watch in watches]
