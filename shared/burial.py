"""How a command is given up: kept with the reasons, said in the journal, its deployment ended; in this order.

A crash in between, or doing it twice, only repeats. The original is removed last, by the caller.
"""

import time

import msgspec
from opentelemetry.trace import SpanKind

from shared.adapters.jetstream.bus import Bus, decode_command, decode_event
from shared.adapters.postgres.deployments import Deployments
from shared.conclusion import conclude
from shared.contracts import subjects
from shared.contracts.errors import Failure, ZepidError
from shared.contracts.events import DeadLettered, Failed
from shared.contracts.messages import DeadLetter
from shared.pipeline import BY_NAME
from shared.telemetry import TRACEPARENT, log, mark_failed, message_attributes, span, trace_id_in

MAX_RETRIES_EXCEEDED = "max_retries_exceeded"
PROCESSING_TIMEOUT = "processing_timeout"
INVALID_MESSAGE = "invalid_message"
SYSTEM_ERROR = "system_error"
_TIMEOUTS = ("STEP_TIMEOUT", "DEPLOYMENT_TIMEOUT")
_LONGEST_BODY = 100_000
"""Characters of the original that a letter keeps: escaped as JSON they still fit into one message."""


class Remains(msgspec.Struct, frozen=True):
    """A command that is given up, as the queue stream holds it; it may be undecodable."""

    subject: str
    sequence: int
    data: bytes
    headers: dict[str, str]
    deliveries: int


async def bury(
    deployments: Deployments,
    bus: Bus,
    actor: str,
    remains: Remains,
    reason: str = "",
    failure: Failure | None = None,
) -> None:
    """Copy the command to the dead letters and fail its deployment (a cleanup's has ended before).

    Args:
        deployments: where the outcome is decided.
        bus: where it is kept and said.
        actor: who gives it up.
        remains: the original.
        reason: one of the four, given together with `failure`.
        failure: what people are told; by default both follow from the command and its attempts.
    """
    step = subjects.actor_in_command(remains.subject)
    deployment_id = subjects.deployment_in_command(remains.subject)
    traceparent = remains.headers.get(TRACEPARENT, "")
    failures = await _failures(bus, step, deployment_id)
    if failure is None:
        reason, failure = _diagnosis(step, remains, failures)
    attributes = message_attributes(actor, remains.subject, deployment_id)
    with span(f"bury {step}", traceparent, kind=SpanKind.CONSUMER, attributes=attributes) as current:
        mark_failed(current, reason, failure.message)
        letter = DeadLetter(
            deployment_id=deployment_id,
            actor=step,
            reason=reason,
            deliveries=remains.deliveries,
            died_at=time.time(),
            body=_body(remains.data),
            trace_id=trace_id_in(traceparent),
            errors=tuple(f"{failed.code}: {failed.message}" for failed in _told(failures, failure)),
        )
        await bus.bury(letter, remains.sequence)
        dead = DeadLettered(deployment_id=deployment_id, actor=step, at=letter.died_at, reason=reason)
        await bus.record(dead, traceparent, copy=str(remains.sequence))
        if step in BY_NAME and not BY_NAME[step].cleans_up:
            await _fail(deployments, bus, actor, deployment_id, failure)
    log.error("dead letter", deployment=deployment_id, step=step, reason=reason, deliveries=remains.deliveries)


async def _fail(deployments: Deployments, bus: Bus, actor: str, deployment_id: str, failure: Failure) -> None:
    try:
        await conclude(deployments, bus, actor, deployment_id, "failed", failure)
    except ZepidError as error:
        if error.code.name != "NOT_FOUND":
            raise
        log.warning("no deployment to fail", deployment=deployment_id)


async def _failures(bus: Bus, step: str, deployment_id: str) -> list[Failure]:
    subject = subjects.event(deployment_id, step, "failed")
    events = [decode_event(stored.data) for stored in await bus.history(subjects.EVENT_STREAM, subject)]
    return [event.failure for event in events if isinstance(event, Failed)]


def _body(data: bytes) -> str:
    text = data.decode(errors="replace")
    return text if len(text) <= _LONGEST_BODY else f"{text[:_LONGEST_BODY]} … ({len(data)} bytes)"


def _told(failures: list[Failure], last: Failure) -> list[Failure]:
    return failures if last in failures else [*failures, last]


def _diagnosis(step: str, remains: Remains, failures: list[Failure]) -> tuple[str, Failure]:
    """Return why a command died: it could not be read, its attempts failed, or they never answered."""
    try:
        decode_command(remains.data, remains.subject)
    except msgspec.DecodeError as error:
        unread = ZepidError("QUEUE_PROCESSING_FAILED", f"the command could not be read: {error}")
        return INVALID_MESSAGE, unread.failure(step)
    if not failures:
        message = f"every attempt of the {step} step ended without an answer (its process was killed)"
        return SYSTEM_ERROR, ZepidError("WORKER_LOST", message).failure(step)
    last = failures[-1]
    return PROCESSING_TIMEOUT if last.code in _TIMEOUTS else MAX_RETRIES_EXCEEDED, last
