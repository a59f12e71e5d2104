"""One delivery of one command, and the events it can write."""

import time
from typing import Any

import msgspec

from shared.contracts.errors import Failure
from shared.contracts.events import Failed, Refused, Started, Succeeded, WentBack
from shared.contracts.messages import Command


class Attempt(msgspec.Struct, frozen=True):
    """What was ordered, and where it stands.

    Attributes:
        delivery: how often the broker has delivered this publication, from 1.
        traceparent: trace of the deployment.
        started_at: seconds since 1970.
    """

    command: Command
    delivery: int
    traceparent: str
    started_at: float

    @property
    def number(self) -> int:
        """Which attempt of the step this is, from 1, over all publications."""
        return self.command.attempts.get(self.command.step, 0) + self.delivery

    @property
    def attempts(self) -> dict[str, int]:
        """The attempts of every step, this one counted."""
        return {**self.command.attempts, self.command.step: self.number}

    def attempts_until(self, number: int) -> dict[str, int]:
        """The attempts of every step, those of this one up to `number`."""
        return {**self.command.attempts, self.command.step: number}

    @property
    def copy(self) -> str:
        """Tells this delivery's events from those of another one of the same command."""
        return f"{self.command.issue}.{self.delivery}"

    def started(self) -> Started:
        """It is running for longer than a moment."""
        return Started(**self._about(self.started_at), attempt=self.number)

    def succeeded(self, detail: str, following: Command | None) -> Succeeded:
        """It is done; `following` is the next command."""
        return Succeeded(
            **self._about(time.time()),
            attempt=self.number,
            started_at=self.started_at,
            next=following,
            detail=detail,
        )

    def failed(self, failure: Failure, retry_in: float | None) -> Failed:
        """It failed; `retry_in` seconds until the next, None when final."""
        return Failed(
            **self._about(time.time()),
            attempt=self.number,
            started_at=self.started_at,
            failure=failure,
            retry_in=retry_in,
        )

    def went_back(self, failure: Failure, resumed: Command) -> WentBack:
        """An earlier step has to be done again."""
        return WentBack(
            **self._about(time.time()),
            attempt=self.number,
            started_at=self.started_at,
            failure=failure,
            next=resumed,
        )

    def refused(self, decided: str) -> Refused:
        """Its result came after the outcome had been decided."""
        return Refused(**self._about(time.time()), attempt=self.number, decided=decided)

    def _about(self, at: float) -> dict[str, Any]:
        return {
            "deployment_id": self.command.deployment_id,
            "actor": self.command.step,
            "at": at,
            "epoch": self.command.epoch,
            "issue": self.command.issue,
        }
