"""What `zepid deploy` tells its view, in order; in JSON form one object a line, told apart by `type`."""

from typing import Protocol

import msgspec

from shared.client.answers import DeploymentStatus, LogRecord, Project
from shared.contracts.errors import Failure


class _Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    pass


class Scanned(_Event, frozen=True, tag="source"):
    """The folder has been read; `warnings` name what was left out."""

    folder: str
    files: int
    total_bytes: int
    warnings: tuple[str, ...] = ()


class ProjectChosen(_Event, frozen=True, tag="project"):
    """The project the folder goes to, and whether it was made just now."""

    project: Project
    created: bool


class Upload(_Event, frozen=True, tag="upload"):
    """How much of what the service lacks has been sent; the first has nothing sent, the last all.

    There is always one: with nothing to send, all its numbers are 0.
    """

    files: int
    total_files: int
    bytes: int
    total_bytes: int


class Accepted(_Event, frozen=True, tag="accepted"):
    """The deployment is recorded; it goes on whatever happens to this command."""

    deployment_id: str


class StatusChanged(_Event, frozen=True, tag="status"):
    """Where the deployment stands now."""

    deployment: DeploymentStatus


class LogAdded(_Event, frozen=True, tag="log"):
    """One line of the deployment's log."""

    line: LogRecord


class Notice(_Event, frozen=True, tag="notice"):
    """Something the person should know, such as a lost connection."""

    message: str


class DeployResult(_Event, frozen=True, tag="result"):
    """How it ended; `status` is `interrupted` or `error` where the deployment has no outcome."""

    deployment_id: str | None
    status: str
    worker_url: str | None = None
    diagnosis: Failure | None = None
    duration: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether the site answers with this deployment's release."""
        return self.status == "completed"

    @property
    def was_watched(self) -> bool:
        """Whether this command saw the deployment's end."""
        return self.status not in ("interrupted", "error")


DeployEvent = Scanned | ProjectChosen | Upload | Accepted | StatusChanged | LogAdded | Notice | DeployResult


class View(Protocol):
    """Shows a deployment: live on a terminal, as plain lines, or as JSON lines."""

    def show(self, event: DeployEvent) -> None:
        """Show what happened."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was; called once, whatever happened."""
        ...
