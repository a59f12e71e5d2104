"""What a step's handler may answer. The worker matches these four exhaustively."""

import msgspec

from shared.contracts.errors import Failure
from shared.contracts.messages import Work


class Done(msgspec.Struct, frozen=True):
    """The step succeeded; `work` is what the next step is told, `detail` what people are told."""

    work: Work
    detail: str = ""


class Retry(msgspec.Struct, frozen=True):
    """The step failed in a way that may pass; try again after a delay."""

    failure: Failure


class Reject(msgspec.Struct, frozen=True):
    """The step failed for good; the deployment fails at once, without a dead letter."""

    failure: Failure


class Back(msgspec.Struct, frozen=True):
    """What an earlier step made is gone; resume from that step in a new epoch."""

    step: str
    failure: Failure


Outcome = Done | Retry | Reject | Back
