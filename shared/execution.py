"""Runs a step's handler for one attempt: with a log, a span, a time limit; whatever it raises becomes an outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from nats.errors import Error as BrokerError
from opentelemetry.trace import SpanKind

from shared.adapters.jetstream.bus import Bus
from shared.adapters.postgres.database import CONNECTION_LOST, DATABASE_AWAY
from shared.attempt import Attempt
from shared.contracts import subjects
from shared.contracts.errors import Failure, ZepidError
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome, Reject, Retry
from shared.failure_log import FailureLog
from shared.outage import insist
from shared.pipeline import ORDER, Step
from shared.ports import Fence, Ports
from shared.step_log import JournalLog
from shared.telemetry import log, mark_failed, message_attributes, span

STARTED_AFTER_SECONDS = 0.02
"""A step that is done sooner writes no `started` event: `succeeded` carries its start."""

Handle = Callable[[Command, Ports], Awaitable[Outcome]]


class Execution:
    """Runs the handler of one step."""

    def __init__(self, step: Step, handle: Handle, ports: Ports, bus: Bus, failures: FailureLog | None = None) -> None:
        self._step = step
        self._handle = handle
        self._ports = ports
        self._bus = bus
        self._failures = failures
        self._saying: set[asyncio.Task[None]] = set()

    async def run(self, attempt: Attempt) -> Outcome | None:
        """Run the handler once, with a log, a span and a late `started` event; None when it was fenced off."""
        command = attempt.command
        step_log = JournalLog(self._bus, attempt)
        fence = Fence(command.epoch, ORDER[command.step], command.issue, attempt.delivery)
        ports = msgspec.structs.replace(self._ports, log=step_log, fence=fence, attempt=attempt.number)
        started = asyncio.get_running_loop().call_later(STARTED_AFTER_SECONDS, self._say_started, attempt)
        subject = subjects.command(self._step.name, command.deployment_id)
        attributes = message_attributes(self._step.name, subject, command.deployment_id) | {
            "messaging.message.id": command.message_id,
            "zepid.project.id": command.project_id,
            "zepid.step": self._step.name,
            "zepid.attempt": attempt.number,
        }
        try:
            name = f"process {self._step.name}"
            with span(name, attempt.traceparent, kind=SpanKind.CONSUMER, attributes=attributes) as current:
                outcome, error = await self._guarded(command, ports)
                if outcome is not None and not isinstance(outcome, Done):
                    if self._failures:
                        await self._failures.keep(attempt, outcome.failure, error)
                    mark_failed(current, outcome.failure.code, outcome.failure.message)
                    step_log.write("system", f"{outcome.failure.code}: {outcome.failure.message}", level="error")
                return outcome
        finally:
            started.cancel()
            await step_log.close()

    async def _in_time(self, command: Command, ports: Ports) -> Outcome:
        """Run the handler; its time limit is STEP_TIMEOUT, a dependency that did not answer in time is not."""
        limit = asyncio.timeout(self._step.timeout)
        try:
            async with limit:
                return await self._handle(command, ports)
        except TimeoutError as error:
            if not limit.expired():
                raise
            message = f"{self._step.name} took longer than {self._step.timeout:g} s"
            raise ZepidError("STEP_TIMEOUT", message) from error

    async def _guarded(self, command: Command, ports: Ports) -> tuple[Outcome | None, Exception | None]:
        """Turn whatever the handler raises into an outcome; nothing may escape unexplained."""
        try:
            return await insist(partial(self._in_time, command, ports), CONNECTION_LOST), None
        except ZepidError as error:
            if error.is_fenced:
                return None, None
            failure = error.failure(self._step.name)
            return Retry(failure) if failure.retryable else Reject(failure), error
        except (*DATABASE_AWAY, BrokerError) as error:
            log.warning("a dependency is away", error=repr(error))
            away = self._failure("SERVICE_UNAVAILABLE", f"a dependency went away during {self._step.name}")
            return Retry(away), error
        except Exception as error:  # noqa: BLE001 - the boundary: a defect is logged with its trace and retried
            log.exception("the handler raised")
            defect = self._failure("INTERNAL_ERROR", f"the {self._step.name} step met a defect of the service")
            return Retry(defect), error

    def _say_started(self, attempt: Attempt) -> None:
        task = asyncio.create_task(self._record_started(attempt))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def _record_started(self, attempt: Attempt) -> None:
        try:
            await self._bus.record(attempt.started(), attempt.traceparent, attempt.copy)
        except ZepidError as error:
            log.warning("start not recorded", step=self._step.name, error=error.message)

    def _failure(self, code: str, message: str) -> Failure:
        return ZepidError(code, message).failure(self._step.name)
