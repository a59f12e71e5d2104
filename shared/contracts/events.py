"""What happened to deployments: the journal, one past-tense struct a kind.

Stored at `deployment.event.<deployment id>.<actor>.<kind>`; the projector folds these into rows.
"""

import msgspec

from shared.contracts.errors import Failure
from shared.contracts.messages import SCHEMA_VERSION, Command


class EventBase(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag_field="kind"):
    """What every event says.

    Attributes:
        actor: the step or service it happened at.
        at: seconds since 1970.
        epoch: the epoch of the command that was worked on.
        issue: the issue of that command.
    """

    deployment_id: str
    actor: str
    at: float
    epoch: int = 0
    issue: int = 0
    v: int = SCHEMA_VERSION


class Admitted(EventBase, frozen=True, kw_only=True, tag="admitted"):
    """Intake gave the deployment one of the slots; its deadline runs. Carries the first command."""

    next: Command


class Started(EventBase, frozen=True, kw_only=True, tag="started"):
    """An attempt of a step is running for longer than a moment."""

    attempt: int


class Succeeded(EventBase, frozen=True, kw_only=True, tag="succeeded"):
    """A step is done. `next` is the command that followed it, None after cleanup and deploy."""

    attempt: int
    started_at: float
    detail: str = ""
    next: Command | None = None


class Failed(EventBase, frozen=True, kw_only=True, tag="failed"):
    """An attempt failed; `retry_in` is the delay in seconds before the next, None when final."""

    attempt: int
    started_at: float
    failure: Failure
    retry_in: float | None = None


class WentBack(EventBase, frozen=True, kw_only=True, tag="went-back"):
    """Something an earlier step made is gone; `next` resumes there in a new epoch."""

    attempt: int
    started_at: float
    failure: Failure
    next: Command


class Ended(EventBase, frozen=True, kw_only=True, tag="ended"):
    """The outcome was decided: `completed`, `failed` or `cancelled`. Said once a deployment."""

    outcome: str
    failure: Failure | None = None
    url: str = ""
    release: str = ""


class Refused(EventBase, frozen=True, kw_only=True, tag="refused"):
    """An attempt came too late: a newer one, a cancel or the outcome had overtaken it. It changed nothing but a log."""

    attempt: int
    decided: str


class Reissued(EventBase, frozen=True, kw_only=True, tag="reissued"):
    """The reconciler found no message for the deployment and published `next` again."""

    next: Command


class LetterClosed(EventBase, frozen=True, kw_only=True, tag="letter-closed"):
    """An operator dealt with a dead letter of the deployment: redriven as `redriven_as`, or discarded.

    Attributes:
        sequence: of the letter in the dead letter stream.
        by: who did it.
        reason: why, in the operator's words.
        redriven_as: the new deployment, "" when the letter was discarded or its cleanup queued again.
    """

    sequence: int
    by: str
    reason: str = ""
    redriven_as: str = ""


class DeadLettered(EventBase, frozen=True, kw_only=True, tag="dead-lettered"):
    """The actor's command was given up and copied to the dead letters."""

    reason: str


Event = Admitted | Started | Succeeded | Failed | WentBack | Ended | Refused | Reissued | DeadLettered | LetterClosed


def kind_of(event: Event) -> str:
    """Return the last token of the event's subject."""
    return kind_named(type(event))


def kind_named(kind: type[Event]) -> str:
    """Return the last token of the subject of events of a kind."""
    return str(kind.__struct_config__.tag)
