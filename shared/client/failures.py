"""What went wrong inside a deployment, for operators."""

from urllib.parse import quote

from shared.client.answers import Answer
from shared.client.transport import Transport


class FailedAttempt(Answer, frozen=True, kw_only=True):
    """One attempt that failed; `trace` is its stack trace, "" where the step answered the failure itself."""

    timestamp: str
    step: str
    attempt: int
    code: str
    message: str
    excerpt: str = ""
    trace: str = ""


class FailedAttempts(Answer, frozen=True, kw_only=True):
    """The failed attempts of a deployment, oldest first."""

    deployment_id: str
    errors: tuple[FailedAttempt, ...]


class Failures:
    """Failed attempts with their stack traces; needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def of(self, deployment_id: str) -> FailedAttempts:
        """Return the failed attempts of a deployment."""
        return await self._transport.ask("GET", f"/deploy/{quote(deployment_id, safe='')}/errors", FailedAttempts)
