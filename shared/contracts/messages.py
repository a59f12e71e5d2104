"""A glossary of what travels over the streams: JSON, camelCase, unknown fields ignored.

Big or secret things (files, manifests, environment values) travel by reference only.
"""

from typing import Any

import msgspec

from shared.hosting import Hosting

SCHEMA_VERSION = 1


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of everything stored in a stream."""


class WorkerPlan(Message, frozen=True):
    """How to make the script of a Worker.

    Attributes:
        entry: the module that is entered, relative to the plan's root.
        bundle: whether its modules are made one; else they are taken as they are.
        variables: its `vars`.
    """

    entry: str
    bundle: bool = True
    variables: dict[str, Any] = {}


class BuildPlan(Message, frozen=True):
    """How to turn a source tree into files to serve; made by validate, followed by build.

    Attributes:
        manager: `npm`, `pnpm`, `yarn`, `bun`, or `none` for a static folder that needs no build.
        manager_version: exact version asked for by the project, or "" for the built-in default.
        root: the folder of the tree to work in, "." or a relative path.
        lock: path of the lock file in the tree (in `root`, or above it in a workspace), or "" when there is none.
        install: shell command that installs dependencies, or "" for the manager's own default.
        build: shell command that builds, or "" when nothing is to be run.
        output: folder relative to `root`, or "" to detect it after the build.
        warnings: lines for the person who reads the log.
        hosting: how the release is served, None for a plain static site; its Worker is not known yet.
        worker: the Worker to make, None for static files alone.
    """

    manager: str
    manager_version: str = ""
    root: str = "."
    lock: str = ""
    install: str = ""
    build: str = ""
    output: str = ""
    warnings: tuple[str, ...] = ()
    hosting: Hosting | None = None
    worker: WorkerPlan | None = None

    @property
    def has_site(self) -> bool:
        """Whether there are files to serve."""
        return self.hosting is None or self.hosting.assets is not None


class Work(Message, frozen=True):
    """What the steps so far have established, by reference.

    Attributes:
        source: digest of the source tree's manifest.
        target: publisher, `local` or `cloudflare`.
        plan: how to build, from validate on.
        sandbox: name of the sandbox, from the sandbox step on.
        artifact: digest of the built output's manifest, from build on.
        release: id of the release, from deploy on.
        url: public address, from deploy on.
        debug: build afresh even what is unchanged, and let the tools say more.
    """

    source: str
    target: str = "local"
    debug: bool = False
    plan: BuildPlan | None = None
    sandbox: str = ""
    artifact: str = ""
    release: str = ""
    url: str = ""


class Command(Message, frozen=True):
    """An order to one step to work on one deployment (subject `deployment.queue.<step>.<id>`).

    Attributes:
        step: the step ordered.
        epoch: how often the pipeline went back to an earlier step.
        issue: how often this command was published again after its first publication.
        attempts: attempts made before this publication, by step.
        interruptions: how often a worker died while it worked on this step.
        deadline: when the deployment must have ended, seconds since 1970.
        work: what earlier steps established.
        v: schema version.
    """

    deployment_id: str
    project_id: str
    organization_id: str
    step: str
    deadline: float
    work: Work
    epoch: int = 0
    issue: int = 0
    attempts: dict[str, int] = {}
    interruptions: int = 0
    v: int = SCHEMA_VERSION

    @property
    def message_id(self) -> str:
        """The `Nats-Msg-Id` by which the broker drops a second copy."""
        return f"{self.deployment_id}.{self.step}.{self.epoch}.{self.issue}"


class Wake(Message, frozen=True):
    """Tells intake that a deployment waits (subject `deployment.queue.intake.<id>`); only a hint."""

    deployment_id: str
    v: int = SCHEMA_VERSION


class LogLine(Message, frozen=True):
    """One line of output.

    Attributes:
        timestamp: seconds since 1970.
        stream: `stdout`, `stderr`, or `system` for what the platform says itself.
        level: `debug`, `info`, `warn` or `error`.
        message: the text, without its line break.
    """

    timestamp: float
    message: str
    stream: str = "system"
    level: str = "info"


class LogChunk(Message, frozen=True):
    """Lines of one attempt of one step (subject `deployment.log.<id>.<step>`), numbered from 0."""

    deployment_id: str
    step: str
    attempt: int
    number: int
    lines: tuple[LogLine, ...]
    v: int = SCHEMA_VERSION


class Advisory(Message, frozen=True, rename=None):
    """The broker's own note that a command was given up (snake_case, as the server writes it)."""

    stream: str
    consumer: str
    stream_seq: int
    deliveries: int = 0
    timestamp: str = ""
    type: str = ""
    reason: str = ""


class DeadLetter(Message, frozen=True):
    """A command that was given up (subject `deployment.dlq.<actor>.<id>`), with why.

    Attributes:
        reason: `max_retries_exceeded`, `processing_timeout`, `invalid_message` or `system_error`.
        deliveries: how often the broker had delivered it.
        died_at: seconds since 1970.
        trace_id: trace of the deployment, or "".
        errors: one line an attempt that failed, from the journal, oldest first.
        body: the original message as text (undecodable bytes replaced).
    """

    deployment_id: str
    actor: str
    reason: str
    deliveries: int
    died_at: float
    body: str
    trace_id: str = ""
    errors: tuple[str, ...] = ()
    v: int = SCHEMA_VERSION
