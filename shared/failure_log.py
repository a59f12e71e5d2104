"""The full text of every attempt that failed, stack trace included: for operators, never for callers."""

import asyncio
import time
import traceback

import msgspec

from shared.attempt import Attempt
from shared.contracts.errors import Failure, ZepidError
from shared.ports import Objects
from shared.telemetry import log
from shared.times import iso_time

_TRACE_CHARACTERS = 64 * 1024
_WRITE_SECONDS = 3.0
_encode = msgspec.json.Encoder().encode


class KeptFailure(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One attempt that failed.

    Attributes:
        step, attempt: which attempt, from 1.
        code, message, excerpt: as in the failure that callers see.
        trace: the stack trace with its causes; "" where the step answered the failure itself.
    """

    timestamp: str
    step: str
    attempt: int
    code: str
    message: str
    excerpt: str = ""
    trace: str = ""


_decode = msgspec.json.Decoder(KeptFailure).decode


class FailureLog:
    """Keeps failures in the bucket of logs, one object an attempt, beside the archived lines."""

    def __init__(self, logs: Objects) -> None:
        self._logs = logs

    async def keep(self, attempt: Attempt, failure: Failure, error: BaseException | None) -> None:
        """Write one down. A store that is away costs the text, never the outcome."""
        trace = "".join(traceback.format_exception(error)) if error else ""
        kept = KeptFailure(
            timestamp=iso_time(time.time()),
            step=failure.step,
            attempt=attempt.number,
            code=failure.code,
            message=failure.message,
            excerpt=failure.excerpt,
            trace=trace[-_TRACE_CHARACTERS:],
        )
        key = f"{_prefix(attempt.command.deployment_id)}{kept.timestamp}-{kept.step}.{kept.attempt}.json"
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                await self._logs.put(key, _encode(kept))
        except (ZepidError, TimeoutError) as away:
            log.warning("failure not kept", error=repr(away), trace=trace)

    async def read(self, deployment_id: str) -> list[KeptFailure]:
        """Return a deployment's failed attempts, oldest first; raises STORAGE_READ_FAILED."""
        keys = sorted([key async for key in self._logs.keys(_prefix(deployment_id))])
        found = await asyncio.gather(*(self._logs.get(key) for key in keys))
        return [_decode(data) for data in found if data]


def _prefix(deployment_id: str) -> str:
    return f"errors/{deployment_id}/"
