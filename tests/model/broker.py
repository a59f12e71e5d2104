"""JetStream as far as this project leans on it, in memory and deterministic (facts measured on the real server).

Below the real `Bus`, so that its subjects, message ids and requests are tested too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import nats.js.errors

from shared.adapters.jetstream.bus import Bus, Stored, decode_event
from shared.contracts import subjects
from shared.contracts.events import Event
from shared.settings import Settings
from tests.model.fate import Fate


def matches(pattern: str, subject: str) -> bool:
    wanted, given = pattern.split("."), subject.split(".")
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


@dataclass
class Message:
    """A message that a stream holds; what follows the headers matters in the queue only."""

    subject: str
    sequence: int
    data: bytes
    headers: dict[str, str]
    time: datetime
    deliveries: int = 0
    in_flight: bool = False
    exhausted: bool = False

    def stored(self) -> Stored:
        return Stored(self.subject, self.sequence, self.data, self.headers | {"Nats-Time-Stamp": self.time.isoformat()})


@dataclass
class Stream:
    """Messages in order, and the message ids of the duplicate window."""

    messages: dict[int, Message] = field(default_factory=dict)
    last: int = 0
    window: set[str] = field(default_factory=set)

    def store(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        message_id = headers["Nats-Msg-Id"]
        if message_id in self.window:
            return
        self.window.add(message_id)
        self.last += 1
        self.messages[self.last] = Message(subject, self.last, data, headers, datetime.now(UTC))

    def matching(self, pattern: str) -> list[Message]:
        return [message for message in self.messages.values() if matches(pattern, message.subject)]

    def forget_removed(self) -> None:
        self.window = {message.headers["Nats-Msg-Id"] for message in self.messages.values()}


class Broker:
    """The server: survives every process."""

    def __init__(self, settings: Settings) -> None:
        self.queue_name = settings.deployment_queue_name
        self.max_deliver = 1 + settings.max_retries
        self.streams = {
            name: Stream()
            for name in (self.queue_name, subjects.EVENT_STREAM, subjects.LOG_STREAM, settings.deployment_dlq_name)
        }
        self.advisories: list[bytes] = []
        self.loses_advisories = False
        self.on_stop: Callable[[str, str], None] = lambda deployment_id, code: None

    @property
    def queue(self) -> Stream:
        return self.streams[self.queue_name]

    def store(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        kind = subject.split(".")[1]
        names = {"queue": self.queue_name, "event": subjects.EVENT_STREAM, "log": subjects.LOG_STREAM}
        self.streams[names.get(kind, "deployment-dlq")].store(subject, data, headers)

    def journal(self) -> list[tuple[int, Event]]:
        stream = self.streams[subjects.EVENT_STREAM]
        return [(message.sequence, decode_event(message.data)) for message in stream.messages.values()]

    # What happens to the server

    def restart(self) -> None:
        """The duplicate window is read from what is stored: removed messages are forgotten."""
        for stream in self.streams.values():
            stream.forget_removed()

    def pass_duplicate_window(self) -> None:
        for stream in self.streams.values():
            stream.window.clear()

    def delete_queue(self) -> None:
        """Deleted and made again: sequences start at 1, nothing is known any more."""
        self.streams[self.queue_name] = Stream()

    def purge_queue(self) -> None:
        """What it held is gone; its message ids are remembered."""
        self.queue.messages.clear()

    # Deliveries

    def deliverable(self) -> list[Message]:
        return [message for message in self.queue.messages.values() if not message.exhausted]

    def deliver(self, message: Message) -> bool:
        """Deliver once more (an ack wait may have to end first); False when deliveries are used up."""
        if message.in_flight and message.deliveries >= self.max_deliver:
            self._exhaust(message)
            return False
        message.deliveries += 1
        message.in_flight = True
        return True

    def ack(self, sequence: int, consumer: str) -> None:
        """Sequences start again in a new stream, and an old ack is not told from a new one."""
        message = self._delivered(sequence, consumer)
        if message is not None:
            del self.queue.messages[sequence]

    def nak(self, sequence: int, consumer: str) -> None:
        message = self._delivered(sequence, consumer)
        if message is not None and message.in_flight:
            message.in_flight = False
            if message.deliveries >= self.max_deliver:
                self._exhaust(message)

    def _delivered(self, sequence: int, consumer: str) -> Message | None:
        message = self.queue.messages.get(sequence)
        if message is None or not message.deliveries or subjects.actor_in_command(message.subject) != consumer:
            return None
        return message

    def _exhaust(self, message: Message) -> None:
        message.in_flight, message.exhausted = False, True
        if not self.loses_advisories:
            advisory = {
                "type": "io.nats.jetstream.advisory.v1.max_deliver",
                "stream": self.queue_name,
                "consumer": subjects.actor_in_command(message.subject),
                "stream_seq": message.sequence,
                "deliveries": message.deliveries,
                "timestamp": datetime.now(UTC).isoformat(),
            }
            self.advisories.append(msgspec.json.encode(advisory))


class Delivery:
    """One delivery of a command, as `nats.aio.msg.Msg` shows it to a worker."""

    def __init__(self, broker: Broker, fate: Fate, message: Message) -> None:
        self.subject, self.data, self.headers = message.subject, message.data, message.headers
        self.consumer = subjects.actor_in_command(message.subject)
        self.reply = f"ack.{self.consumer}.{message.sequence}"
        self.metadata = SimpleNamespace(
            num_delivered=message.deliveries, sequence=SimpleNamespace(stream=message.sequence)
        )
        self._broker, self._fate, self._sequence = broker, fate, message.sequence

    async def ack_sync(self, timeout: float = 1) -> None:
        async def perform() -> None:
            self._broker.ack(self._sequence, self.consumer)

        await self._fate.effect(perform)

    async def nak(self, delay: float | None = None) -> None:
        async def perform() -> None:
            self._broker.nak(self._sequence, self.consumer)

        await self._fate.effect(perform)


class AdvisoryDelivery:
    """One delivery of an advisory to the dead letter service."""

    def __init__(self, broker: Broker, fate: Fate, data: bytes) -> None:
        self.data = data
        self._broker, self._fate = broker, fate

    async def ack_sync(self, timeout: float = 1) -> None:
        async def perform() -> None:
            if self.data in self._broker.advisories:
                self._broker.advisories.remove(self.data)

        await self._fate.effect(perform)

    async def nak(self, delay: float | None = None) -> None:
        """It stays where it is."""


class _JetStream:
    """The calls of `JetStreamContext` that the project makes, on behalf of one process."""

    def __init__(self, broker: Broker, fate: Fate) -> None:
        self._broker, self._fate = broker, fate

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        async def perform() -> None:
            self._broker.store(subject, payload, headers)

        await self._fate.effect(perform)

    async def purge_stream(self, name: str, subject: str) -> None:
        async def perform() -> None:
            for message in self._broker.streams[name].matching(subject):
                del self._broker.streams[name].messages[message.sequence]

        await self._fate.effect(perform)

    async def delete_msg(self, name: str, sequence: int) -> None:
        async def perform() -> None:
            if self._broker.streams[name].messages.pop(sequence, None) is None:
                raise nats.js.errors.NotFoundError(code=404, err_code=10043)

        await self._fate.effect(perform)

    async def get_msg(self, name: str, sequence: int) -> Message:
        message = self._broker.streams[name].messages.get(sequence)
        if message is None:
            raise nats.js.errors.NotFoundError(code=404, err_code=10037)
        return message

    async def stream_info(self, name: str, subjects_filter: str = "") -> Any:
        stream = self._broker.streams[name]
        found = {message.subject: 0 for message in stream.matching(subjects_filter)} if subjects_filter else {}
        for message in stream.matching(subjects_filter) if subjects_filter else []:
            found[message.subject] += 1
        return SimpleNamespace(state=SimpleNamespace(last_seq=stream.last, subjects=found))

    async def consumer_info(self, name: str, consumer: str) -> Any:
        messages = self._broker.streams[name].matching(subjects.commands_for(consumer))
        delivered = max((message.sequence for message in messages if message.deliveries), default=0)
        unanswered = [message.sequence for message in messages if message.deliveries and not message.exhausted]
        return SimpleNamespace(
            num_pending=sum(not message.deliveries for message in messages),
            num_ack_pending=len(unanswered),
            delivered=SimpleNamespace(stream_seq=delivered),
            ack_floor=SimpleNamespace(stream_seq=min(unanswered, default=delivered + 1) - 1),
        )


class _Client:
    """The calls of the core client that the project makes, on behalf of one process."""

    def __init__(self, broker: Broker, fate: Fate) -> None:
        self.is_connected = True
        self._broker, self._fate = broker, fate

    def jetstream(self, timeout: float) -> _JetStream:
        return _JetStream(self._broker, self._fate)

    async def publish(self, subject: str, data: bytes, **_: Any) -> None:
        async def perform() -> None:
            kind, *rest = subject.split(".")
            if kind == "ack" and data.startswith(b"+TERM"):
                self._broker.ack(int(rest[1]), rest[0])
            elif matches(subjects.STOP_REQUESTS, subject):
                self._broker.on_stop(subjects.deployment_in(subject), data.decode())

        await self._fate.effect(perform)


class SimulatedBus(Bus):
    """The real bus of one process, on a simulated server."""

    def __init__(self, broker: Broker, fate: Fate, settings: Settings) -> None:
        super().__init__(_Client(broker, fate), settings)  # type: ignore[arg-type]
        self._broker = broker

    async def _request_direct(self, stream: str, request: Any) -> Any:
        found, _ = await self._direct_get(stream, request)
        return found[0] if found else None

    async def _direct_get(self, stream: str, request: Any) -> tuple[list[Stored], int]:
        held = self._broker.streams[stream]
        if "multi_last" in request:
            last = {message.subject: message for pattern in request["multi_last"] for message in held.matching(pattern)}
            return sorted((message.stored() for message in last.values()), key=lambda one: one.sequence), 0
        wanted = [message for message in held.matching(request["next_by_subj"]) if message.sequence >= request["seq"]]
        return [message.stored() for message in wanted], 0
