"""Consume → journal → handle → publish → acknowledge: the one place that does any of it.

A worker serves one step. It asks the journal before it works, so that a redelivered command
repeats no finished work; it publishes what follows before it acknowledges, so that a crash in
between only repeats; and it leaves what follows to the outcome that the handler answers.
"""

import asyncio
import time
from collections import deque
from functools import partial

import msgspec
import structlog
from nats.aio.msg import Msg

from shared.adapters.jetstream.bus import Bus, decode_command
from shared.adapters.jetstream.consumer import BROKER_AWAY, Consumer
from shared.adapters.postgres.deployments import Deployments
from shared.attempt import Attempt
from shared.burial import INVALID_MESSAGE, SYSTEM_ERROR, Remains, bury
from shared.contracts.errors import Failure, ZepidError
from shared.contracts.events import Ended, Succeeded, WentBack, kind_of
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome, Retry
from shared.execution import Execution, Handle
from shared.failure_log import FailureLog
from shared.lease import Lease
from shared.outage import insist
from shared.past import Interrupted, look_back
from shared.pipeline import HEARTBEAT_SECONDS, MAX_INTERRUPTIONS, Step
from shared.ports import Ports
from shared.settlement import Settlement
from shared.step_log import JournalLog
from shared.telemetry import TRACEPARENT, log

_AWAY_SECONDS = 0.5
"""How soon a heartbeat follows when the broker is back."""
GRACE_SECONDS = 5.0
"""How long running attempts may go on after a request to shut down."""
_REST = 9.0
_LONGEST_REST_SECONDS = 1.0
"""After the burial of an unreadable message a worker buries none for this many times as long as it took."""


class Worker:
    """Serves one step of the pipeline until told to stop."""

    def __init__(
        self,
        step: Step,
        handle: Handle,
        ports: Ports,
        bus: Bus,
        deployments: Deployments,
        failures: FailureLog | None = None,
    ) -> None:
        self._step = step
        self._settings = ports.settings
        self._bus = bus
        self._deployments = deployments
        self._execution = Execution(step, handle, ports, bus, failures)
        self._settlement = Settlement(step, bus, deployments)
        self._max_deliver = 1 + ports.settings.max_retries
        self._running: dict[asyncio.Task[None], Lease] = {}
        self._burying: dict[asyncio.Task[None], Lease] = {}
        self._grave = asyncio.Lock()
        self._suspects: deque[tuple[Msg, Lease, Command]] = deque()
        self._alone: asyncio.Task[None] | None = None
        self._stoppable: dict[str, asyncio.Task[None]] = {}
        self._handing_back = False

    @property
    def in_flight(self) -> int:
        """How many commands it works on now."""
        return len(self._running)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish or hand back what is running."""
        self._handing_back = False
        await self._bus.on_stop_requests(self._stop_one)
        heartbeat = asyncio.create_task(self._keep_alive())
        try:
            async with self._bus.consumer(self._settings.deployment_queue_name, self._step.name) as consumer:
                await self._consume(consumer, stopping)
        finally:
            await self._drain()
            heartbeat.cancel()

    async def _consume(self, consumer: Consumer, stopping: asyncio.Event) -> None:
        settings = self._settings
        stopped = asyncio.create_task(stopping.wait())
        while not stopping.is_set():
            self._begin_suspect()
            free = 0 if self._alone or self._suspects else self._step.concurrency - len(self._running)
            if free <= 0:
                await asyncio.wait({stopped, *self._running}, return_when=asyncio.FIRST_COMPLETED)
                continue
            batch = min(free, settings.max_batch_size)
            for message in await consumer.poll(batch, settings.max_batch_timeout, stopping):
                self._begin(message)

    def _begin(self, message: Msg) -> None:
        lease = Lease(message)
        try:
            command = decode_command(message.data, message.subject)
        except msgspec.DecodeError:
            task = asyncio.create_task(self._bury_unreadable(message))
            self._burying[task] = lease
            task.add_done_callback(self._forget)
            return
        if command.interruptions < MAX_INTERRUPTIONS - 1:
            self._start(message, lease, command)
        else:
            self._suspects.append((message, lease, command))
            self._begin_suspect()

    def _start(self, message: Msg, lease: Lease, command: Command) -> asyncio.Task[None]:
        task = asyncio.create_task(self._process(message, lease, command))
        self._running[task] = lease
        task.add_done_callback(self._forget)
        return task

    def _begin_suspect(self) -> None:
        """Start a command that may kill its worker once more; alone, so that no other is suspected for its sake."""
        if self._suspects and not self._running:
            self._alone = self._start(*self._suspects.popleft())

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._burying.pop(task, None)
        if task is self._alone:
            self._alone = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ZepidError):
            log.warning("delivery left to the broker", step=self._step.name, error=error.message)
        elif error is not None:
            log.error("delivery left to the broker", step=self._step.name, exc_info=error)

    async def _keep_alive(self) -> None:
        pause = HEARTBEAT_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = HEARTBEAT_SECONDS if self._bus.client.is_connected else _AWAY_SECONDS
            if pause == _AWAY_SECONDS:
                continue
            suspects = (lease for _, lease, _ in self._suspects)
            for lease in [*self._running.values(), *self._burying.values(), *suspects]:
                try:
                    await lease.extend()
                except BROKER_AWAY as error:
                    log.warning("heartbeat not sent", step=self._step.name, error=repr(error))

    async def _drain(self) -> None:
        """Let running attempts finish within the grace period, then hand the rest back."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=GRACE_SECONDS)
        self._handing_back = True
        rest = {*self._running, *self._burying}
        for task in rest:
            task.cancel()
        back = [message.nak() for message, _, _ in self._suspects]
        self._suspects.clear()
        await asyncio.gather(*rest, *back, return_exceptions=True)

    async def _stop_one(self, deployment_id: str, code: str) -> None:
        task = self._stoppable.get(deployment_id)
        if task is not None:
            log.info("stopped on request", deployment=deployment_id, step=self._step.name, code=code)
            task.cancel()

    async def _bury_unreadable(self, message: Msg) -> None:
        """Give up what cannot be read: one at a time and with long rests, so that a flood of it delays no work."""
        async with self._grave:
            began = time.monotonic()
            await self._bury(message)
            await asyncio.sleep(min(_LONGEST_REST_SECONDS, _REST * (time.monotonic() - began)))

    async def _process(self, message: Msg, lease: Lease, command: Command) -> None:
        """Handle one delivery from the journal to its acknowledgement."""
        traceparent = (message.headers or {}).get(TRACEPARENT, "")
        attempt = Attempt(command, message.metadata.num_delivered, traceparent, time.time())
        task = asyncio.current_task()
        if task is not None and not self._step.cleans_up:
            self._stoppable[command.deployment_id] = task
        try:
            with structlog.contextvars.bound_contextvars(
                deployment=command.deployment_id, step=self._step.name, attempt=attempt.number
            ):
                await self._work(message, lease, attempt)
        except asyncio.CancelledError:
            if self._handing_back:
                await self._settlement.hand_back(attempt)
            else:
                await self._settlement.refuse(attempt, "stopped on request")
            await self._bus.acknowledge(message)
        finally:
            self._stoppable.pop(command.deployment_id, None)

    async def _work(self, message: Msg, lease: Lease, attempt: Attempt) -> None:
        """Do what the journal does not show as done; acknowledge when all that follows is stored."""
        match await insist(partial(look_back, self._bus, attempt)):
            case Ended(outcome=outcome) if attempt.delivery == 1:
                await insist(partial(self._settlement.refuse, attempt, outcome))
            case Ended(outcome=outcome):
                log.info("dropped: the deployment has ended", outcome=outcome)
            case Succeeded(next=following) | WentBack(next=following) as done:
                log.info("dropped: this step was done with", how=kind_of(done))
                if following is not None:
                    await self._bus.send(following, attempt.traceparent)
            case Interrupted() as interruption:
                if not await self._take_up(message, attempt, interruption):
                    return
            case None:
                if not await self._settle(message, lease, attempt):
                    return
        await self._bus.acknowledge(message)

    async def _take_up(self, message: Msg, attempt: Attempt, interruption: Interrupted) -> bool:
        """Publish an interrupted command again, unless it has killed its worker too often; return whether it was."""
        worked = interruption is Interrupted.WORKING
        interruptions = attempt.command.interruptions + worked
        log.warning("interrupted before", why=interruption.value, interruptions=interruptions)
        if worked:
            step_log = JournalLog(self._bus, attempt)
            step_log.write("system", f"attempt {attempt.number - 1} was cut off: its last lines may be missing", "warn")
            await step_log.close()
        if interruptions >= MAX_INTERRUPTIONS:
            text = f"the process that worked on the {self._step.name} step died {interruptions} times"
            await self._bury(message, SYSTEM_ERROR, self._failure("WORKER_LOST", text))
            return False
        await insist(partial(self._settlement.take_up, attempt, interruptions, worked=worked))
        return True

    async def _settle(self, message: Msg, lease: Lease, attempt: Attempt) -> bool:
        """Make the attempt and publish what follows; return whether the command is done with."""
        outcome = await self._execution.run(attempt)
        if outcome is None:
            await insist(partial(self._settlement.refuse, attempt, "taken over by a newer attempt"))
            return True
        if lease.lapsed and not await self._still_counts(attempt, outcome):
            return False
        if isinstance(outcome, Retry):
            last = attempt.delivery >= self._max_deliver
            delay = await insist(partial(self._settlement.postpone, attempt, outcome.failure, last=last))
            await message.nak(delay=delay or None)
            return False
        await insist(partial(self._settlement.settle, attempt, outcome))
        return True

    async def _still_counts(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Whether the result of a worker that was stopped for too long counts: a success does that is still wanted."""
        match await insist(partial(look_back, self._bus, attempt)):
            case Ended(outcome=decided):
                await insist(partial(self._settlement.refuse, attempt, decided))
                return False
            case Succeeded() | WentBack() as done:
                await insist(partial(self._settlement.refuse, attempt, kind_of(done)))
                return False
        return isinstance(outcome, Done)

    async def _bury(self, message: Msg, reason: str = "", failure: Failure | None = None) -> None:
        """Give a command up: copied, its deployment failed, then terminated; see `bury`."""
        remains = Remains(
            subject=message.subject,
            sequence=message.metadata.sequence.stream,
            data=message.data,
            headers=message.headers or {},
            deliveries=message.metadata.num_delivered,
        )
        await insist(partial(bury, self._deployments, self._bus, self._step.name, remains, reason, failure))
        await self._bus.terminate(message, reason or INVALID_MESSAGE)

    def _failure(self, code: str, message: str) -> Failure:
        return ZepidError(code, message).failure(self._step.name)
