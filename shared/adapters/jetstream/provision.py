"""The five streams and their consumers, declared once and applied by whoever starts first."""

import asyncio
import time
from dataclasses import replace

import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from shared.adapters.jetstream.consumer import BROKER_AWAY
from shared.contracts import subjects
from shared.contracts.errors import ZepidError
from shared.pipeline import ACK_WAIT_SECONDS, ACTORS, BY_NAME, ORDER
from shared.settings import Settings
from shared.telemetry import log

_HOUR = 3_600.0
_DAY = 24 * _HOUR
_OLDEST_SERVER = (2, 12, 5)
SETUP_SECONDS = 30.0
"""How long a cluster may take to elect its leaders before it takes streams."""
_AGAIN_SECONDS = 0.5
_TOO_FEW_SERVERS = 10005
"""What a cluster answers that does not know all its servers yet."""
_NO_CLUSTER = 10074
_FIXED = ("retention", "storage", "subjects")
_APPLIED = ("max_age", "max_msg_size", "duplicate_window", "num_replicas", "allow_direct", "description")


def streams(settings: Settings) -> tuple[StreamConfig, ...]:
    """Return the five streams, in the order operators think of them."""
    queue = settings.deployment_queue_name
    base = StreamConfig(
        storage=StorageType.FILE,
        num_replicas=settings.stream_replicas,
        allow_direct=True,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        duplicate_window=120.0,
        max_msg_size=1_000_000,
    )
    return (
        replace(
            base,
            name=queue,
            description="Commands: what must happen",
            subjects=[subjects.commands_for(actor) for actor in ACTORS],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
        ),
        replace(
            base,
            name=subjects.EVENT_STREAM,
            description="The journal: what happened",
            subjects=[subjects.ALL_EVENTS],
            max_age=settings.event_retention_days * _DAY,
        ),
        replace(
            base,
            name=subjects.LOG_STREAM,
            description="Log chunks, until they are archived",
            subjects=[subjects.ALL_LOGS],
            max_age=settings.log_retention_hours * _HOUR,
        ),
        replace(
            base,
            name=subjects.ADVISORY_STREAM,
            description="The broker's notes on commands it gave up",
            subjects=[subjects.max_deliveries_advisories(queue), subjects.terminated_advisories(queue)],
            retention=RetentionPolicy.WORK_QUEUE,
        ),
        replace(
            base,
            name=settings.deployment_dlq_name,
            description="Dead letters: commands that were given up, with why",
            subjects=[subjects.ALL_DEAD_LETTERS],
            max_age=settings.dead_letter_retention_days * _DAY,
        ),
    )


def consumers(settings: Settings) -> tuple[tuple[str, ConsumerConfig], ...]:
    """Return (stream, consumer) for every durable pull consumer."""
    base = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_SECONDS, max_ack_pending=10_000)
    queue = [
        (
            settings.deployment_queue_name,
            replace(
                base,
                durable_name=actor,
                description=_description(actor),
                filter_subject=subjects.commands_for(actor),
                max_deliver=-1 if actor == "intake" else 1 + settings.max_retries,
            ),
        )
        for actor in ACTORS
    ]
    logged = replace(
        base,
        durable_name="log-archiver",
        description="Archives finished logs",
        filter_subjects=[subjects.CLEANED_EVENTS, subjects.REFUSED_EVENTS],
        deliver_policy=DeliverPolicy.ALL,
    )
    hints = ConsumerConfig(
        durable_name="admission",
        description="Intake hears of freed slots",
        filter_subject=subjects.CLEANED_EVENTS,
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.NEW,
    )
    return (
        *queue,
        (subjects.EVENT_STREAM, hints),
        (subjects.EVENT_STREAM, logged),
        (
            subjects.ADVISORY_STREAM,
            replace(base, durable_name="dead-letter", description="Buries commands given up"),
        ),
    )


def _description(actor: str) -> str:
    """What `nats consumer ls` says of a reader of the queue."""
    step = BY_NAME.get(actor)
    if step is None:
        return "Admits waiting deployments"
    return f"Step {ORDER[actor] + 1} of {len(BY_NAME)}: status `{step.status}`, at most {step.timeout:g} s an attempt"


async def provision(client: Client, settings: Settings) -> None:
    """Create what is missing, apply changed settings, refuse what would destroy messages.

    Waits for a cluster that elects its leaders, or lacks servers; many processes may do this at once.

    Raises:
        ZepidError: QUEUE_SETUP_REFUSED, the server is too old, or something differs that can't be changed.
            QUEUE_SEND_FAILED, the broker takes no streams.
    """
    _check_version(client)
    given_up_at = time.monotonic() + SETUP_SECONDS
    while True:
        try:
            return await _ensure_all(client.jetstream(timeout=5), settings)
        except BROKER_AWAY as error:
            if _is_refusal(error):
                raise ZepidError("QUEUE_SETUP_REFUSED", f"the broker refuses a stream: {error}") from error
            if time.monotonic() > given_up_at:
                raise ZepidError("QUEUE_SEND_FAILED", f"the broker takes no streams: {error}") from error
            log.warning("waiting for the broker to take streams", error=repr(error))
        await asyncio.sleep(_AGAIN_SECONDS)


def _is_refusal(error: Exception) -> bool:
    """Whether waiting will not help."""
    if not isinstance(error, nats.js.errors.APIError):
        return False
    is_bad = isinstance(error, nats.js.errors.BadRequestError) and error.err_code != _TOO_FEW_SERVERS
    return is_bad or error.err_code == _NO_CLUSTER


async def _ensure_all(jetstream: JetStreamContext, settings: Settings) -> None:
    for stream in streams(settings):
        await _ensure_stream(jetstream, stream)
    for stream_name, consumer in consumers(settings):
        await _ensure_consumer(jetstream, stream_name, consumer)


async def missing(client: Client, settings: Settings) -> list[str]:
    """Return the names of streams, and of consumers as `stream/consumer`, that the server does not have."""
    jetstream = client.jetstream(timeout=10)
    found = {str(info.config.name) for info in await jetstream.streams_info()}
    names = [str(stream.name) for stream in streams(settings) if stream.name not in found]
    readers = [(stream, str(consumer.durable_name)) for stream, consumer in consumers(settings) if stream in found]
    for stream in dict.fromkeys(stream for stream, _ in readers):
        there = {info.name for info in await jetstream.consumers_info(stream)}
        names += [f"{stream}/{name}" for of, name in readers if of == stream and name not in there]
    return names


def _check_version(client: Client) -> None:
    server = client.connected_server_version
    if (server.major, server.minor, server.patch) < _OLDEST_SERVER:
        need = ".".join(map(str, _OLDEST_SERVER))
        raise ZepidError(
            "QUEUE_SETUP_REFUSED",
            f"the NATS server is version {server.major}.{server.minor}.{server.patch}, at least {need} is needed "
            "(older ones delete messages that used up their deliveries)",
        )


async def _ensure_stream(jetstream: JetStreamContext, wanted: StreamConfig) -> None:
    try:
        found = (await jetstream.stream_info(str(wanted.name))).config
    except nats.js.errors.NotFoundError:
        await jetstream.add_stream(wanted)
        return
    for name in _FIXED:
        ours, theirs = getattr(wanted, name), getattr(found, name)
        if ours != theirs and not (name == "subjects" and set(ours) >= set(theirs)):
            raise ZepidError(
                "QUEUE_SETUP_REFUSED",
                f"stream {wanted.name} has {name} {theirs}, this version needs {ours}: drain it and delete "
                f"it with `nats stream rm {wanted.name}`, or name another queue in DEPLOYMENT_QUEUE_NAME",
            )
    changes = {name: getattr(wanted, name) for name in (*_APPLIED, "subjects")}
    if any(getattr(found, name) != value for name, value in changes.items()):
        await jetstream.update_stream(replace(found, **changes))


async def _ensure_consumer(jetstream: JetStreamContext, stream_name: str, wanted: ConsumerConfig) -> None:
    try:
        await jetstream.add_consumer(stream_name, wanted)
    except nats.js.errors.BadRequestError as error:
        if not _is_refusal(error):
            raise
        name = wanted.durable_name
        raise ZepidError(
            "QUEUE_SETUP_REFUSED",
            f"consumer {name} of {stream_name} cannot be changed to what this version needs "
            f"({error.description}): remove it with `nats consumer rm {stream_name} {name}`",
        ) from error
