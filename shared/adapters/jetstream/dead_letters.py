"""The dead letters as operators meet them: looked through, taken out one by one."""

from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
from nats.js.api import StreamInfo

from shared.adapters.jetstream.bus import Bus, Stored, decode_command
from shared.adapters.jetstream.consumer import BROKER_AWAY
from shared.contracts import subjects
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command, DeadLetter

_WINDOW = 1000
_decode = msgspec.json.Decoder(DeadLetter).decode


class Letter(msgspec.Struct, frozen=True):
    """A dead letter in its stream; `command` is the order in it, None when that cannot be read."""

    sequence: int
    content: DeadLetter
    command: Command | None


class DeadLetters:
    """Reads and removes what `shared.burial` wrote.

    Every method raises ZepidError, QUEUE_PROCESSING_FAILED, when the broker is away.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._stream = bus.settings.deployment_dlq_name

    async def created(self) -> datetime:
        """Return when the stream was made: with it a letter's sequence is unique for ever."""
        created = (await self._info()).created
        if created is None:
            raise ZepidError("QUEUE_PROCESSING_FAILED", f"the broker does not say when {self._stream} was made")
        return created

    async def one(self, sequence: int) -> AsyncIterator[Letter]:
        """Yield the letter of this sequence, if there is one."""
        if sequence > 0:
            for stored in await self._bus.history(self._stream, _filter(None), sequence - 1, up_to=sequence):
                yield _letter(stored)

    async def newest_first(self, actor: str | None = None, below: int | None = None) -> AsyncIterator[Letter]:
        """Yield letters with a sequence lower than `below`, of one actor if given.

        The stream is read backwards, in windows that grow where few letters are left.
        """
        state = (await self._info()).state
        high = state.last_seq if below is None else min(state.last_seq, below - 1)
        width = _WINDOW
        while high >= state.first_seq:
            low = max(state.first_seq, high - width + 1)
            found = await self._bus.history(self._stream, _filter(actor), low - 1, up_to=high)
            for stored in reversed(found):
                yield _letter(stored)
            high = low - 1
            width = _next_width(width, len(found))

    async def oldest_first(self, actor: str | None = None, after: int = 0) -> AsyncIterator[Letter]:
        """Yield letters with a sequence greater than `after`, of one actor if given."""
        state = (await self._info()).state
        after = max(after, state.first_seq - 1)
        width = _WINDOW
        while after < state.last_seq:
            found = await self._bus.history(self._stream, _filter(actor), after, up_to=after + width)
            for stored in found:
                yield _letter(stored)
            after += width
            width = _next_width(width, len(found))

    async def remove(self, sequence: int) -> None:
        """Remove a letter; one that is gone already is no error."""
        try:
            await self._bus.delete(self._stream, sequence)
        except BROKER_AWAY as error:
            raise ZepidError("QUEUE_PROCESSING_FAILED", f"letter {sequence} could not be removed: {error}") from error

    async def _info(self) -> StreamInfo:
        try:
            return await self._bus.jetstream.stream_info(self._stream)
        except BROKER_AWAY as error:
            raise ZepidError("QUEUE_PROCESSING_FAILED", f"stream {self._stream} could not be read: {error}") from error


def _next_width(width: int, found: int) -> int:
    return width * 2 if found < width // 2 else _WINDOW


def _filter(actor: str | None) -> str:
    return subjects.dead_letter(actor or "*", "*")


def _letter(stored: Stored) -> Letter:
    content = _decode(stored.data)
    subject = subjects.command(content.actor, content.deployment_id)
    try:
        return Letter(stored.sequence, content, decode_command(content.body.encode(), subject))
    except msgspec.DecodeError:
        return Letter(stored.sequence, content, None)
