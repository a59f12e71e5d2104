"""One table of error codes, one root exception, one shape of failure.

Every failure explains itself: code, step, class, retryable, message, excerpt, hint.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec


class FailureClass(StrEnum):
    """Who can mend it: the app's author, the operator, the plan's owner, or time."""

    USER = "user"
    PLATFORM = "platform"
    QUOTA = "quota"
    TRANSIENT = "transient"


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table: HTTP status for callers, class, whether a retry can help, a hint."""

    name: str
    status: int
    failure_class: FailureClass
    retryable: bool
    hint: str


_USER, _PLATFORM, _QUOTA, _TRANSIENT = FailureClass

# fmt: off
_TABLE: tuple[Code, ...] = (
    # the service as a whole
    Code("INTERNAL_ERROR", 500, _PLATFORM, True, "This is a defect of the service; the operator finds it by the request id."),
    Code("INVALID_REQUEST", 400, _USER, False, "Correct the request; the message names what is wrong."),
    Code("UNAUTHORIZED", 401, _USER, False, "Send `Authorization: Bearer <token>` with a valid token."),
    Code("FORBIDDEN", 403, _USER, False, "Use a token of this organisation with the needed scope."),
    Code("NOT_FOUND", 404, _USER, False, "Check the id and the organisation of the token."),
    Code("PAYLOAD_TOO_LARGE", 413, _USER, False, "Send less at once: upload the missing files one by one."),
    Code("SERVICE_UNAVAILABLE", 503, _TRANSIENT, True, "A dependency is away; try again in a few seconds."),
    Code("RATE_LIMITED", 429, _QUOTA, True, "Wait as long as Retry-After says."),
    Code("IDEMPOTENCY_KEY_REUSED", 422, _USER, False, "Send a new Idempotency-Key with each new request; the same one only to repeat a request."),
    Code("STORAGE_FULL", 507, _PLATFORM, True, "The operator makes room on the disk of the object store: `zepid cleanup`."),
    # projects and acceptance
    Code("INVALID_PROJECT_ID", 400, _USER, False, "Use an id of letters, digits, dashes and underscores."),
    Code("PROJECT_NOT_FOUND", 404, _USER, False, "Check the project id and the organisation of the token."),
    Code("PROJECT_INACTIVE", 400, _USER, False, "Activate the project before deploying it."),
    Code("DEPLOYMENT_IN_PROGRESS", 409, _USER, True, "Wait for the running deployment, or cancel it."),
    Code("CLEANUP_RUNNING", 409, _USER, True, "Wait for the cleanup that runs, then try again."),
    Code("PROJECT_LOCKED", 409, _USER, False, "Unlock the project first: `zepid unlock`."),
    Code("QUEUE_FULL", 429, _QUOTA, True, "Wait until deployments of the organisation have started, as long as Retry-After says."),
    Code("DEPLOYMENT_QUOTA_EXCEEDED", 429, _QUOTA, False, "Wait for the next period or choose a larger plan."),
    Code("DEPLOYMENT_VALIDATION_FAILED", 400, _USER, False, "Correct what the message names and deploy again."),
    Code("SOURCE_MISSING", 400, _USER, False, "Upload the project's source first: `zepid deploy DIR` does it."),
    Code("SOURCE_INVALID", 400, _USER, False, "Correct the named file or path and upload again."),
    Code("PRECONDITION_FAILED", 412, _USER, True, "Somebody else changed it meanwhile: read it again, then decide."),
    Code("DOMAIN_INVALID", 400, _USER, False, "Use the full name of a domain that you own, such as shop.example.com."),
    Code("DOMAIN_TAKEN", 409, _USER, False, "Remove the domain from the project that has it, then add it here."),
    Code("ENCRYPTION_KEY_MISSING", 501, _PLATFORM, False, "Set ENCRYPTION_KEYS of every service, then try again."),
    Code("SECRET_UNREADABLE", 500, _PLATFORM, False, "Add the key that encrypted it to ENCRYPTION_KEYS, or set the variable again."),
    # access
    Code("TOKEN_ENDED", 409, _USER, False, "Make a new API key: `zepid token create` does it."),
    Code("WEBHOOK_URL_REFUSED", 400, _USER, False, "Use an https:// address that is reachable from the internet; the operator can allow others with WEBHOOK_ALLOWED_NETWORKS."),
    Code("WEBHOOK_INACTIVE", 409, _USER, False, "Switch the webhook on first: PATCH it with `isActive: true`."),
    Code("WEBHOOK_LIMIT_REACHED", 409, _QUOTA, False, "Remove a webhook that is no longer needed."),
    # git sources
    Code("SOURCE_GIT_REFUSED", 400, _USER, False, "Name a repository on a public server by https, without user or password."),
    Code("SOURCE_GIT_NOT_FOUND", 400, _USER, False, "Check the git URL; only public repositories can be fetched."),
    Code("SOURCE_GIT_REF_MISSING", 400, _USER, False, "Name a branch, a tag or a full commit id that the repository has."),
    Code("SOURCE_GIT_TOO_LARGE", 400, _USER, False, "Keep the tree below 20,000 files of at most 25 MiB each, 250 MiB packed."),
    Code("SOURCE_GIT_TIMEOUT", 408, _USER, False, "Make the repository's tree smaller, or deploy again when its server is faster."),
    Code("SOURCE_GIT_UNAVAILABLE", 503, _TRANSIENT, True, "The git server did not answer; it is tried again."),
    Code("SOURCE_GIT_INVALID", 400, _USER, False, "Name the https address that `git clone` takes."),
    # the pipeline
    Code("CANCELLED", 409, _USER, False, "The deployment was cancelled on request; deploy again when ready."),
    Code("DEPLOYMENT_TIMEOUT", 408, _PLATFORM, True, "The deployment took longer than its deadline; look at the slowest step's log."),
    Code("DEPLOYMENT_STEP_FAILED", 500, _PLATFORM, True, "The step failed again and again; its errors are in the dead letter."),
    Code("WORKER_LOST", 500, _PLATFORM, True, "The process that worked on the step died each time; the build may use more memory than the host has."),
    Code("STEP_TIMEOUT", 408, _PLATFORM, True, "The step took longer than its limit; its log ends where it hung."),
    Code("OUTCOME_ALREADY_DECIDED", 409, _PLATFORM, False, "The deployment had already ended; nothing was changed."),
    Code("QUEUE_SEND_FAILED", 503, _TRANSIENT, True, "The broker is away; the work goes on when it returns."),
    Code("QUEUE_SETUP_REFUSED", 500, _PLATFORM, False, "Change on the broker what the message names, then start again."),
    Code("QUEUE_PROCESSING_FAILED", 500, _PLATFORM, True, "The message could not be handled; it is in the dead letters."),
    Code("STORAGE_READ_FAILED", 503, _TRANSIENT, True, "The object store did not answer, or lost an object."),
    Code("STORAGE_WRITE_FAILED", 503, _TRANSIENT, True, "The object store did not take an object; look at its disk and access."),
    Code("SANDBOX_CREATE_FAILED", 503, _TRANSIENT, True, "The build host could not make a sandbox; `zepid doctor` says what is missing."),
    Code("SANDBOX_CONNECT_FAILED", 503, _TRANSIENT, True, "The sandbox is gone; the pipeline makes a new one."),
    Code("SANDBOX_COMMAND_FAILED", 503, _TRANSIENT, True, "The sandbox could not run a command; `zepid doctor` says what is missing."),
    Code("SANDBOX_FENCED", 409, _PLATFORM, False, "A newer attempt owns the sandbox; this one was refused."),
    # the user's build
    Code("BUILD_PLAN_INVALID", 400, _USER, False, "Correct package.json or the project's build settings."),
    Code("BUILD_INSTALL_FAILED", 400, _USER, False, "Run the install command of the log on your machine and correct what it names."),
    Code("BUILD_REGISTRY_UNAVAILABLE", 503, _TRANSIENT, True, "The package registry did not answer; it is tried again. If it is your own, check .npmrc."),
    Code("BUILD_DEPENDENCY_MISSING", 400, _USER, False, "Add the named package to package.json, or correct the import."),
    Code("BUILD_LOCKFILE_OUTDATED", 400, _USER, False, "Run the package manager's install once and commit the lock file."),
    Code("BUILD_SCRIPT_MISSING", 400, _USER, False, "Add a `build` script to package.json, or set a build command for the project."),
    Code("BUILD_TYPE_ERROR", 400, _USER, False, "Correct the type error at the named file and line."),
    Code("BUILD_SYNTAX_ERROR", 400, _USER, False, "Correct the syntax at the named file and line."),
    Code("BUILD_COMMAND_FAILED", 400, _USER, False, "Run the build command on your machine; the excerpt shows where it stopped."),
    Code("BUILD_NETWORK_REFUSED", 400, _USER, False, "Builds have no network, installs reach public addresses: keep what is needed in the source or in a package. The operator can allow more (BUILD_ALLOWED_HOSTS, SANDBOX_ALLOWED_NETWORKS)."),
    Code("BUILD_NO_OUTPUT", 400, _USER, False, "Let the build write to dist, build, out or public, or set the output directory."),
    Code("BUILD_OUTPUT_INVALID", 400, _USER, False, "Keep the output below 20,000 files of at most 25 MiB each."),
    Code("BUILD_TIMEOUT", 408, _USER, False, "Make the build faster, or find the command that never ends."),
    Code("BUILD_OUT_OF_MEMORY", 400, _USER, False, "Lower the build's memory use."),
    Code("BUILD_DISK_FULL", 400, _USER, False, "Write less during the build."),
    # going live
    Code("RELEASE_PROBE_FAILED", 502, _USER, False, "Open the release's own address; the site must answer with a page there."),
    Code("WORKER_RUNTIME_MISSING", 501, _PLATFORM, False, "The operator installs the runtime of Workers: `zepid doctor --install`."),
    Code("WORKER_FAILED", 502, _USER, True, "Look at the Worker's script: it may fail at its start, loop without end, or need more memory than it may have."),
    Code("WORKER_TIMEOUT", 504, _USER, True, "Let the Worker answer sooner."),
    Code("WORKER_BUSY", 503, _TRANSIENT, True, "As many Workers as may run are at work; the operator raises WORKERS_AT_ONCE or WORKERS_PER_ORGANIZATION."),
    Code("RELEASE_NOT_KEPT", 409, _USER, False, "Choose a release that is kept; `zepid releases` shows them."),
    Code("POINTER_MOVED", 409, _USER, True, "Somebody else switched the site later; see what is live: `zepid releases`."),
    Code("PUBLISH_FAILED", 502, _TRANSIENT, True, "The place that serves the site did not take the release."),
    Code("PUBLISH_RATE_LIMITED", 503, _TRANSIENT, True, "Cloudflare takes no more requests for now; it is tried again later."),
    Code("PUBLISH_REJECTED", 400, _USER, False, "Correct what Cloudflare's message names, then deploy again."),
    Code("PUBLISH_UNAUTHORIZED", 502, _PLATFORM, False, "The operator gives CLOUDFLARE_API_TOKEN the permission to edit Workers scripts of CLOUDFLARE_ACCOUNT_ID."),
    Code("PUBLISH_TARGET_MISSING", 502, _PLATFORM, False, "The operator corrects CLOUDFLARE_URL, CLOUDFLARE_ACCOUNT_ID, DISPATCH_NAMESPACE_NAME or CLOUDFLARE_ZONE_ID."),
)
# fmt: on

CODES: dict[str, Code] = {code.name: code for code in _TABLE}


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A failure as people see it (`diagnosis` in the status).

    Attributes:
        code: a name of the table.
        step: where it happened.
        failure_class: `user`, `platform`, `quota` or `transient`; `class` in JSON.
        retryable: whether the same deployment could succeed later.
        message: one sentence: what happened, where.
        hint: what to do.
        excerpt: the telling lines of the tool's output.
        file: source file, relative to the project, where the tool named one.
        line: line in that file, from 1.
    """

    code: str
    step: str
    failure_class: str = msgspec.field(name="class")
    retryable: bool
    message: str
    hint: str
    excerpt: str = ""
    file: str | None = None
    line: int | None = None


class ZepidError(Exception):
    """Root of our exceptions: a code of the table and a sentence for people.

    Attributes:
        code: the row of the table.
        message: what happened, where; safe to show to callers.
        excerpt, file, line: as in `Failure`.
        details: extra fields for the HTTP answer.
        retry_after: seconds a caller should wait, if known.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        excerpt: str = "",
        file: str | None = None,
        line: int | None = None,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = CODES[code]
        self.message = message
        self.excerpt = excerpt
        self.file = file
        self.line = line
        self.details = details
        self.retry_after = retry_after

    @property
    def is_fenced(self) -> bool:
        """Whether a newer attempt has taken over: this one has no say any more."""
        return self.code.name == "SANDBOX_FENCED"

    def failure(self, step: str) -> Failure:
        """Return this error as the failure of a step."""
        return Failure(
            code=self.code.name,
            step=step,
            failure_class=self.code.failure_class.value,
            retryable=self.code.retryable,
            message=self.message,
            hint=self.code.hint,
            excerpt=self.excerpt,
            file=self.file,
            line=self.line,
        )
