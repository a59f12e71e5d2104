"""The service's answers: camelCase JSON, fields that are unknown here are ignored."""

from typing import Any

import msgspec

from shared.contracts.errors import Failure

ENDED = frozenset({"completed", "failed", "cancelled"})
"""The statuses after which nothing changes any more."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all answers."""


class Identity(Answer, frozen=True):
    """Who the token speaks for; no organisation means every one."""

    user_id: str
    organization_id: str | None = None
    scopes: tuple[str, ...] = ()
    token_name: str = ""


class Project(Answer, frozen=True):
    """A project; `url` is where its site is served once something is live."""

    id: str
    name: str
    organization_id: str
    worker_name: str = ""
    url: str = ""
    is_active: bool = True
    settings: dict[str, Any] = {}
    created_at: str = ""


class DeletedProject(Answer, frozen=True):
    """A project that is gone; `cancelled_id` is the deployment that was cancelled for it."""

    project_id: str
    cancelled_id: str | None = None


class ProjectPage(Answer, frozen=True):
    """Projects, newest first; `next_cursor` asks for the next page."""

    projects: tuple[Project, ...]
    next_cursor: str | None = None


class SourceState(Answer, frozen=True):
    """What the service has of a source tree.

    Attributes:
        missing: digests of the blobs still to be uploaded.
        snapshot_id: the stored tree, once nothing is missing.
    """

    missing: tuple[str, ...]
    snapshot_id: str | None = None
    files: int = 0
    total_bytes: int = 0


class AcceptedDeployment(Answer, frozen=True):
    """A deployment that was recorded."""

    deployment_id: str
    status: str = "queued"
    message: str = ""
    superseded_id: str | None = None
    retry_of: str | None = None


class CancelledDeployment(Answer, frozen=True):
    """A deployment that is cancelled; its status says so when its processes are dead."""

    deployment_id: str
    status: str = "cancelled"
    message: str = ""


class StepState(Answer, frozen=True):
    """One step of a deployment; `duration` in milliseconds."""

    status: str = "pending"
    attempts: int = 0
    started_at: str | None = None
    completed_at: str | None = None
    duration: float | None = None
    error: str | None = None


class DeploymentStatus(Answer, frozen=True):
    """A deployment as `GET /deploy/{id}/status` shows it; `duration` in milliseconds."""

    deployment_id: str
    status: str
    progress: int = 0
    stage: str | None = None
    current_step: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    duration: float | None = None
    error: str | None = None
    worker_url: str | None = None
    queue_position: int | None = None
    estimated_start_seconds: float | None = None
    retry_of: str | None = None
    queue_paused: bool = False
    steps: dict[str, StepState] = {}
    diagnosis: Failure | None = None

    @property
    def has_ended(self) -> bool:
        """Whether this is the last word."""
        return self.status in ENDED


class LogRecord(Answer, frozen=True):
    """One line of a deployment's log; `seq` numbers the deployment's lines."""

    seq: int
    message: str
    step: str = ""
    attempt: int = 1
    timestamp: str = ""
    stream: str = "system"
    level: str = "info"


class LogPage(Answer, frozen=True):
    """A page of a log; `complete` when no line will be added."""

    logs: tuple[LogRecord, ...]
    deployment_id: str = ""
    next_cursor: str | None = None
    complete: bool = False


class DeploymentRow(Answer, frozen=True):
    """A deployment in a list; `duration` in milliseconds."""

    deployment_id: str
    status: str
    project_id: str = ""
    project_name: str = ""
    progress: int = 0
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    duration: float | None = None
    worker_url: str | None = None


class DeploymentPage(Answer, frozen=True):
    """Deployments, newest first; `next_cursor` asks for the next page."""

    deployments: tuple[DeploymentRow, ...]
    next_cursor: str | None = None


class LetterRow(Answer, frozen=True):
    """A dead letter in a list; `error` is its last."""

    sequence: int
    died_at: str
    actor: str
    reason: str
    deployment_id: str
    deliveries: int = 0
    error: str = ""
    organization_id: str | None = None
    project_id: str | None = None


class LetterPage(Answer, frozen=True):
    """Dead letters, newest first; `next_cursor` asks for the next page."""

    letters: tuple[LetterRow, ...]
    next_cursor: int | None = None


class WholeLetter(LetterRow, frozen=True):
    """Everything about a dead letter; `errors` one an attempt, `deployment` where it stands now."""

    errors: tuple[str, ...] = ()
    body: str = ""
    trace_id: str = ""
    deployment: DeploymentStatus | None = None


class RedrivenLetter(Answer, frozen=True):
    """A letter that was redriven; without `new_deployment_id` its cleanup was queued again."""

    sequence: int
    deployment_id: str
    new_deployment_id: str | None = None


class RefusedLetter(Answer, frozen=True):
    """A letter that stays, with why."""

    sequence: int
    code: str
    message: str


class Redrive(Answer, frozen=True):
    """What became of letters; with `next` there are more after that sequence."""

    redriven: tuple[RedrivenLetter, ...] = ()
    refused: tuple[RefusedLetter, ...] = ()
    next: int | None = None


class DiscardedLetter(Answer, frozen=True):
    """A letter that is gone."""

    sequence: int


class Backlog(Answer, frozen=True):
    """One actor's queue; `oldest_age_seconds` of the oldest message that is not done."""

    pending: int = 0
    in_flight: int = 0
    redelivered: int = 0
    oldest_age_seconds: float | None = None


class WaitingOrganization(Answer, frozen=True):
    """An organisation's deployments that wait; `running` of it hold a slot, `limit` may."""

    organization_id: str
    waiting: int
    oldest_age_seconds: float
    running: int = 0
    limit: int = 0


class Pause(Answer, frozen=True):
    """Admission is stopped for an organisation, without one for everyone."""

    paused_by: str
    paused_at: str
    organization_id: str | None = None


class Paused(Answer, frozen=True):
    """For whom admission is stopped."""

    paused: tuple[Pause, ...] = ()


class QueueState(Answer, frozen=True):
    """What waits where."""

    actors: dict[str, Backlog]
    waiting: tuple[WaitingOrganization, ...]
    running: int
    paused: tuple[Pause, ...] = ()
    dead_letters: int = 0
    configuration: dict[str, float] = {}


class Health(Answer, frozen=True):
    """The service's health: `checks` says per dependency `healthy`, `unhealthy`, or more in detail."""

    status: str
    version: str = ""
    checks: dict[str, Any] = {}
