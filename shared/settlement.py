"""What follows from an outcome: the events and commands, always before the acknowledgement."""

import asyncio
import random
import time
from typing import Any

import msgspec

from shared.adapters.jetstream.bus import Bus
from shared.adapters.postgres.deployments import Deployments
from shared.attempt import Attempt
from shared.conclusion import conclude
from shared.contracts.errors import Failure
from shared.contracts.messages import Work
from shared.contracts.outcomes import Back, Done, Reject
from shared.pipeline import MAX_EPOCHS, Step, backoff_scale, backoff_seconds, following
from shared.telemetry import log


class Settlement:
    """Publishes what an attempt of one step leads to. Every method may safely run twice."""

    def __init__(self, step: Step, bus: Bus, deployments: Deployments) -> None:
        self._step = step
        self._bus = bus
        self._deployments = deployments
        self._backoff_scale = backoff_scale(bus.settings.max_retries, bus.settings.deadline_seconds)

    async def settle(self, attempt: Attempt, outcome: Done | Reject | Back) -> None:
        """Publish everything that a final outcome of an attempt leads to."""
        match outcome:
            case Done(work=work, detail=detail) if self._step.concludes:
                await self._complete(attempt, work, detail)
            case Done(work=work, detail=detail):
                await self._advance(attempt, work, detail)
            case Reject(failure=failure):
                await self._reject(attempt, failure)
            case Back(failure=failure) if attempt.command.epoch + 1 > MAX_EPOCHS:
                await self._reject(attempt, failure)
            case Back(step=step, failure=failure):
                await self._go_back(attempt, step, failure)

    async def postpone(self, attempt: Attempt, failure: Failure, *, last: bool) -> float:
        """Record a failure that may pass; return the delay before the next try in seconds (full jitter)."""
        delay = 0.0 if last else random.uniform(0, backoff_seconds(attempt.delivery) * self._backoff_scale)
        event = attempt.failed(failure, None if last else delay)
        await self._bus.record(event, attempt.traceparent, attempt.copy)
        log.warning("attempt failed", code=failure.code, message=failure.message, last=last, retry_in=round(delay, 2))
        return delay

    async def hand_back(self, attempt: Attempt) -> None:
        """Publish the command again, so that shutting down costs no delivery."""
        await self._reissue(attempt, attempts=attempt.attempts)

    async def take_up(self, attempt: Attempt, interruptions: int, *, worked: bool) -> None:
        """Publish an interrupted command again, so that being killed costs no retry.

        The delivery before this one counts as an attempt when work had begun (`worked`).
        """
        attempts = attempt.attempts_until(attempt.number - (1 if worked else 2))
        await self._reissue(attempt, attempts=attempts, interruptions=interruptions)

    async def refuse(self, attempt: Attempt, decided: str) -> None:
        """Say that an attempt, its result or an order that followed from one came too late and changed nothing.

        `decided` is what had been decided. What a late attempt wrote is archived when this is said.
        """
        await self._bus.record(attempt.refused(decided), attempt.traceparent, attempt.copy)
        log.warning("too late: refused", decided=decided)

    async def _reissue(self, attempt: Attempt, **changes: Any) -> None:
        command = attempt.command
        again = msgspec.structs.replace(command, issue=command.issue + 1, **changes)
        await self._bus.send(again, attempt.traceparent)
        log.info("published again", deployment=command.deployment_id, step=command.step, issue=again.issue)

    async def _advance(self, attempt: Attempt, work: Work, detail: str) -> None:
        after = following(self._step.name)
        if after is None:
            await self._bus.record(attempt.succeeded(detail, None), attempt.traceparent)
        else:
            command = msgspec.structs.replace(
                attempt.command, step=after.name, issue=0, interruptions=0, work=work, attempts=attempt.attempts
            )
            await asyncio.gather(
                self._bus.send(command, attempt.traceparent),
                self._bus.record(attempt.succeeded(detail, command), attempt.traceparent),
            )
        log.info("step done", seconds=round(time.time() - attempt.started_at, 3), detail=detail)

    async def _complete(self, attempt: Attempt, work: Work, detail: str) -> None:
        """The success that fixes the outcome: decided in SQL first, refused if it came too late."""
        decision = await conclude(
            self._deployments,
            self._bus,
            self._step.name,
            attempt.command.deployment_id,
            "completed",
            url=work.url,
            release=work.release,
        )
        if decision.outcome == "completed":
            await self._bus.record(attempt.succeeded(detail, None), attempt.traceparent)
            log.info("deployment completed", url=work.url)
        else:
            await self.refuse(attempt, str(decision.outcome))

    async def _reject(self, attempt: Attempt, failure: Failure) -> None:
        await self._bus.record(attempt.failed(failure, None), attempt.traceparent, attempt.copy)
        decision = await conclude(
            self._deployments, self._bus, self._step.name, attempt.command.deployment_id, "failed", failure
        )
        if decision.decided:
            log.info("deployment failed", code=failure.code, message=failure.message)
        else:
            await self.refuse(attempt, str(decision.outcome))

    async def _go_back(self, attempt: Attempt, step: str, failure: Failure) -> None:
        command = attempt.command
        resumed = msgspec.structs.replace(
            command, step=step, epoch=command.epoch + 1, issue=0, interruptions=0, attempts=attempt.attempts
        )
        await self._bus.record(attempt.went_back(failure, resumed), attempt.traceparent)
        await self._bus.send(resumed, attempt.traceparent)
        log.warning("went back", to=step, epoch=resumed.epoch, code=failure.code)
