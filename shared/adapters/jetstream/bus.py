"""Everything that is published to or read from the streams, with the broker's failures retried."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

import msgspec
import nats
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from shared.adapters.jetstream.consumer import BROKER_AWAY, Consumer, Listeners
from shared.contracts import subjects
from shared.contracts.errors import ZepidError
from shared.contracts.events import Ended, Event, kind_named, kind_of
from shared.contracts.messages import SCHEMA_VERSION, Command, DeadLetter, LogChunk, Wake
from shared.pipeline import ACTORS, CLEANUP
from shared.settings import Settings
from shared.telemetry import TRACEPARENT, log

_PAUSES = (0.25, 0.5, 1.0, 2.0)
"""Between the tries of what a broker that elects a leader, or has just started, refuses for a moment."""
_ANSWER_SECONDS = 3.0
"""A server that died after it was asked answers nothing; another is asked after this time."""
_READ_BATCH = 1000
_CLEAN_ENDS = ("204", "404")
_GONE = (10037, 10043, 10057)
"""What the server says of a message that was deleted, or of a sequence that the stream never had."""
encode = msgspec.json.Encoder().encode
decode_event = msgspec.json.Decoder(Event).decode
decode_chunk = msgspec.json.Decoder(LogChunk).decode


_commands = msgspec.json.Decoder(Command)


def decode_command(data: bytes, subject: str) -> Command:
    """Return the command that was found at a subject; raises msgspec.DecodeError for what this version cannot read."""
    try:
        command = _commands.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
    if command.v > SCHEMA_VERSION:
        raise msgspec.ValidationError(f"schema version {command.v}; this service reads up to {SCHEMA_VERSION}")
    if subjects.command(command.step, command.deployment_id) != subject:
        raise msgspec.ValidationError(f"it orders {command.step} of {command.deployment_id}, which is not its subject")
    return command


class Stored(msgspec.Struct, frozen=True):
    """A message as a stream holds it."""

    subject: str
    sequence: int
    data: bytes
    headers: dict[str, str]


class Bus:
    """One process's connection to the broker."""

    def __init__(self, client: Client, settings: Settings, reconnected: Listeners | None = None) -> None:
        self.client = client
        self.settings = settings
        self.jetstream: JetStreamContext = client.jetstream(timeout=_ANSWER_SECONDS)
        self._reconnected: Listeners = set() if reconnected is None else reconnected

    @classmethod
    async def connect(cls, settings: Settings, name: str) -> "Bus":
        """Connect and keep the connection for ever.

        Args:
            settings: names the servers and the streams.
            name: what `nats server report connections` shows.

        Raises:
            ZepidError: QUEUE_SEND_FAILED, the broker does not answer.
        """

        async def report(error: Exception) -> None:
            log.warning("broker", error=str(error) or type(error).__name__)

        reconnected: Listeners = set()

        async def tell() -> None:
            log.info("broker is back")
            for listener in tuple(reconnected):
                listener()

        first = urlsplit(settings.nats_servers[0])
        try:
            client = await nats.connect(
                settings.nats_servers,
                user=first.username,
                password=first.password,
                name=f"zepid-{name}",
                error_cb=report,
                reconnected_cb=tell,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,
                pending_size=16 * 1024 * 1024,
                flusher_queue_size=10_000,
            )
        except BROKER_AWAY as error:
            raise ZepidError("QUEUE_SEND_FAILED", f"the broker at NATS_URL does not answer: {error}") from error
        return cls(client, settings, reconnected)

    async def close(self) -> None:
        """Send what is buffered and disconnect."""
        with contextlib.suppress(*BROKER_AWAY):
            await self.client.flush(timeout=2)
        with contextlib.suppress(*BROKER_AWAY):
            await self.client.close()

    # What must happen

    async def send(self, command: Command, traceparent: str) -> None:
        """Queue a command; a second copy of the same issue is dropped by the broker."""
        subject = subjects.command(command.step, command.deployment_id)
        await self._publish(subject, encode(command), command.message_id, traceparent)

    async def wake_intake(self, deployment_id: str, traceparent: str) -> None:
        """Tell intake that a deployment waits; not confirmed, for it finds the deployment anyway."""
        subject = subjects.command("intake", deployment_id)
        headers = {TRACEPARENT: traceparent} if traceparent else None
        with contextlib.suppress(*BROKER_AWAY):
            await self.client.publish(subject, encode(Wake(deployment_id=deployment_id)), headers=headers)

    async def purge_commands(self, deployment_id: str) -> None:
        """Remove what is queued for a deployment, its cleanup spared."""
        for actor in ACTORS:
            if actor == CLEANUP.name:
                continue
            await self.jetstream.purge_stream(
                self.settings.deployment_queue_name, subject=subjects.command(actor, deployment_id)
            )

    # What happened

    async def record(self, event: Event, traceparent: str, copy: str = "") -> None:
        """Write an event to the journal, once for the same kind, actor, epoch and `copy`."""
        kind = kind_of(event)
        subject = subjects.event(event.deployment_id, event.actor, kind)
        message_id = f"{event.deployment_id}.{event.actor}.{kind}.{event.epoch}.{copy}"
        await self._publish(subject, encode(event), message_id, traceparent)

    async def latest(self, command: Command, *kinds: type[Event]) -> list[Event]:
        """Return the last event of each of these kinds: of the step ordered, or (Ended) of the deployment.

        One request answers the usual case, that there is none.
        """
        filters = [
            subjects.ended(command.deployment_id)
            if kind is Ended
            else subjects.event(command.deployment_id, command.step, kind_named(kind))
            for kind in kinds
        ]
        return [decode_event(message.data) for message in await self._last_of(filters)]

    async def commands(self, deployment_id: str) -> list[Stored]:
        """Return the commands of a deployment that are queued or being worked on."""
        return await self._last_of([subjects.commands_of(deployment_id)], self.settings.deployment_queue_name)

    async def append_log(self, chunk: LogChunk, copy: str) -> None:
        """Store a chunk of a step's log, once for each `copy` (epoch, issue and delivery of the command)."""
        message_id = f"{chunk.deployment_id}.{chunk.step}.{copy}.{chunk.number}"
        await self._publish(subjects.log(chunk.deployment_id, chunk.step), encode(chunk), message_id, "")

    async def acknowledge(self, message: Msg) -> None:
        """Take a command off the queue, confirmed.

        Where that fails the broker delivers it again, and the journal tells that it is done.
        """
        try:
            await _tried(partial(message.ack_sync, timeout=_ANSWER_SECONDS))
        except BROKER_AWAY as error:
            log.warning("not acknowledged", subject=message.subject, error=repr(error))

    async def terminate(self, message: Msg, reason: str) -> None:
        """Take a command out of the queue for good; whatever is to be kept of it has been copied."""
        await self.client.publish(message.reply, f"+TERM {reason}"[:200].encode())

    async def bury(self, letter: DeadLetter, original: int) -> None:
        """Store a dead letter, once for each original message; not again while it is the subject's last one."""
        message_id = f"dlq.{letter.deployment_id}.{letter.actor}.{original}"
        subject = subjects.dead_letter(letter.actor, letter.deployment_id)
        last = await self._last_of([subject], self.settings.deployment_dlq_name)
        if not any(stored.headers.get("Nats-Msg-Id") == message_id for stored in last):
            await self._publish(subject, encode(letter), message_id, "")

    async def delete(self, stream: str, sequence: int) -> None:
        """Remove one message; that it is gone already is no error."""
        try:
            await self.jetstream.delete_msg(stream, sequence)
        except nats.js.errors.APIError as error:
            if error.err_code not in _GONE:
                raise

    # Reading back

    async def history(self, stream: str, subject: str, after: int = 0, up_to: int | None = None) -> list[Stored]:
        """Return what a stream holds for a subject filter, after a sequence and up to one, oldest first.

        Raises:
            ZepidError: QUEUE_PROCESSING_FAILED, the stream could not be read to its end.
        """
        found: list[Stored] = []
        while True:
            size = _READ_BATCH if up_to is None else min(_READ_BATCH, up_to - after)
            request = {"seq": after + 1, "next_by_subj": subject, "batch": size}
            batch, left = await self._direct_get(stream, request)
            found += [stored for stored in batch if up_to is None or stored.sequence <= up_to]
            if not batch or not left or (up_to is not None and batch[-1].sequence >= up_to):
                return found
            after = batch[-1].sequence

    async def count(self, stream: str, subject: str) -> int:
        """Return how many messages a stream holds for a subject filter."""
        info = await self.jetstream.stream_info(stream, subjects_filter=subject)
        return sum((info.state.subjects or {}).values())

    async def _last_of(self, filters: list[str], stream: str = subjects.EVENT_STREAM) -> list[Stored]:
        """Return the last message of each subject; asked twice only when there is one."""
        request = {"multi_last": filters}
        if await self._request_direct(stream, request) is None:
            return []
        found, _ = await self._direct_get(stream, request)
        return found

    async def _request_direct(self, stream: str, request: object) -> Msg | None:
        try:
            message = await self.client.request(
                f"$JS.API.DIRECT.GET.{stream}", encode(request), timeout=_ANSWER_SECONDS
            )
        except BROKER_AWAY as error:
            raise ZepidError("QUEUE_PROCESSING_FAILED", f"the journal could not be read: {error}") from error
        status = (message.headers or {}).get("Status")
        if status == "404":
            return None
        if status:
            raise ZepidError("QUEUE_PROCESSING_FAILED", f"the journal answered {status} to a read")
        return message

    async def _direct_get(self, stream: str, request: object) -> tuple[list[Stored], int]:
        """Read several messages with one request; return them, and how many more there are.

        Anything but a clean end is an error.
        """
        found: list[Stored] = []
        inbox = self.client.new_inbox()
        subscription = await self.client.subscribe(inbox, pending_msgs_limit=-1, pending_bytes_limit=-1)
        try:
            await self.client.publish(f"$JS.API.DIRECT.GET.{stream}", encode(request), reply=inbox)
            while True:
                message = await subscription.next_msg(timeout=_ANSWER_SECONDS)
                headers = message.headers or {}
                if headers.get("Status") in _CLEAN_ENDS:
                    return found, int(headers.get("Nats-Num-Pending", 0))
                if "Status" in headers:
                    why = f"{headers['Status']} {headers.get('Description', '')}".strip()
                    raise ZepidError("QUEUE_PROCESSING_FAILED", f"stream {stream} answered {why} to a read")
                found.append(Stored(headers["Nats-Subject"], int(headers["Nats-Sequence"]), message.data, headers))
        except BROKER_AWAY as error:
            raise ZepidError("QUEUE_PROCESSING_FAILED", f"stream {stream} could not be read: {error!r}") from error
        finally:
            await subscription.unsubscribe()

    def consumer(self, stream: str, durable: str) -> Consumer:
        """Return a durable consumer, to be used as `async with` and polled."""
        return Consumer(self.client, stream, durable, self._reconnected)

    # Core messages: told to whoever listens now, not stored

    async def request_stop(self, deployment_id: str, code: str) -> None:
        """Tell the worker that runs a step of this deployment to kill it."""
        await self.client.publish(subjects.stop(deployment_id), code.encode())

    async def on_stop_requests(self, told: Callable[[str, str], Awaitable[None]]) -> None:
        """Call `told(deployment_id, code)` at every request to stop."""

        async def relay(message: Msg) -> None:
            await told(subjects.deployment_in(message.subject), message.data.decode())

        await self.client.subscribe(subjects.STOP_REQUESTS, cb=relay)

    async def announce_key_change(self) -> None:
        """Tell every gateway to look up API keys again."""
        with contextlib.suppress(*BROKER_AWAY):
            await self.client.publish(subjects.KEYS_CHANGED, b"")

    async def on_key_changes(self, told: Callable[[], None]) -> None:
        """Call `told` whenever an API key was revoked or has a new token."""

        async def relay(_: Msg) -> None:
            told()

        await self.client.subscribe(subjects.KEYS_CHANGED, cb=relay)

    async def _publish(self, subject: str, data: bytes, message_id: str, traceparent: str) -> None:
        headers = {"Nats-Msg-Id": message_id}
        if traceparent:
            headers[TRACEPARENT] = traceparent
        try:
            await _tried(partial(self.jetstream.publish, subject, data, headers=headers))
        except BROKER_AWAY as error:
            raise ZepidError("QUEUE_SEND_FAILED", f"{subject} could not be published: {error!r}") from error


async def _tried(effect: Callable[[], Awaitable[object]]) -> None:
    """Do what may safely run twice; try again for some seconds while the broker is away."""
    for pause in _PAUSES:
        try:
            await effect()
            return
        except BROKER_AWAY:
            await asyncio.sleep(pause)
    await effect()
