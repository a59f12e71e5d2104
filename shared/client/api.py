"""One method a route of the service."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import msgspec

from shared.client.answers import (
    AcceptedDeployment,
    CancelledDeployment,
    DeletedProject,
    DeploymentPage,
    DeploymentStatus,
    DiscardedLetter,
    Health,
    Identity,
    LetterPage,
    LogPage,
    LogRecord,
    Paused,
    Project,
    ProjectPage,
    QueueState,
    Redrive,
    RedrivenLetter,
    SourceState,
    WholeLetter,
)
from shared.client.audit import Audit
from shared.client.bundle import bundle
from shared.client.domains import Domains
from shared.client.env import Env
from shared.client.errors import ApiError, ServerAway
from shared.client.failures import Failures
from shared.client.quota import Quota
from shared.client.releases import Releases
from shared.client.sse import ServerEvent, Subscription
from shared.client.tokens import Tokens
from shared.client.transport import Transport
from shared.client.webhooks import Webhooks
from shared.ports import Manifest

_UPLOAD_TRIES = 6
_PATIENCE_SECONDS = 120.0
"""How long a followed stream may be without a server: a restart takes seconds."""


class _ProjectAnswer(msgspec.Struct):
    project: Project


class Client(Transport):
    """A connection to one service with one token; use it as an asynchronous context.

    Every method raises `ApiError` when the service refuses and `ServerAway` when nobody answers.

    Attributes:
        audit: who did what.
        domains: custom domains of projects.
        env: environment variables of projects.
        failures: failed attempts with their stack traces.
        tokens: API keys.
        releases: what was live, going back to it, what deployments have built, and what is kept of it.
        webhooks: whom the organisation wants to be told.
    """

    def __init__(
        self, base_url: str, token: str, *, timeout: float = 30.0, patience: float = _PATIENCE_SECONDS
    ) -> None:
        super().__init__(base_url, token, timeout)
        self._patience = patience
        self.audit = Audit(self)
        self.domains = Domains(self)
        self.quota = Quota(self)
        self.env = Env(self)
        self.failures = Failures(self)
        self.tokens = Tokens(self)
        self.releases = Releases(self)
        self.webhooks = Webhooks(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def whoami(self) -> Identity:
        """Return the organisation and user of the token."""
        return await self.ask("GET", "/whoami", Identity)

    async def create_project(
        self, name: str, organization_id: str | None = None, settings: dict[str, str] | None = None
    ) -> Project:
        """Make a project, in the token's organisation if it has one; `settings` override the build plan."""
        body: dict[str, Any] = {"name": name, "settings": settings or {}}
        if organization_id:
            body["orgId"] = organization_id
        return (await self.ask("POST", "/projects", _ProjectAnswer, json=body)).project

    async def project(self, project_id: str) -> Project:
        """Return one project."""
        return (await self.ask("GET", f"/projects/{project_id}", _ProjectAnswer)).project

    async def projects(self) -> AsyncIterator[Project]:
        """Yield the projects the token may see."""
        cursor: str | None = None
        while True:
            page = await self.ask("GET", "/projects", ProjectPage, params={"cursor": cursor})
            for project in page.projects:
                yield project
            if (cursor := page.next_cursor) is None:
                return

    async def change_project(
        self,
        project_id: str,
        *,
        name: str | None = None,
        is_active: bool | None = None,
        settings: dict[str, str | None] | None = None,
    ) -> Project:
        """Change what is given of a project; a setting of None is detected again."""
        given = {"name": name, "isActive": is_active, "settings": settings or None}
        body = {key: value for key, value in given.items() if value is not None}
        return (await self.ask("PATCH", f"/projects/{project_id}", _ProjectAnswer, json=body)).project

    async def delete_project(self, project_id: str, *, cancel: bool = False) -> DeletedProject:
        """Delete a project; with `cancel` a deployment in progress is cancelled, else it is in the way."""
        params = {"cancel": "true" if cancel else None}
        return await self.ask("DELETE", f"/projects/{project_id}", DeletedProject, params=params)

    async def offer_source(self, project_id: str, tree: Manifest) -> SourceState:
        """Tell the service a project's whole tree; it names the blobs it lacks, or the snapshot."""
        return await self.ask("POST", f"/projects/{project_id}/source", SourceState, json=tree)

    async def upload_archive(self, project_id: str, archive: bytes) -> SourceState:
        """Make a tar.gz or zip a project's source."""
        response = await self.send("PUT", f"/projects/{project_id}/source", content=archive)
        return msgspec.json.decode(response.content, type=SourceState)

    async def upload_blob(self, digest: str, data: bytes, organization_id: str | None = None) -> None:
        """Upload one file's bytes for an organisation; repeated on passing failures, which does no harm."""
        await self._upload("PUT", f"/blobs/{digest}", data, organization_id)

    async def upload_blobs(self, blobs: Mapping[str, bytes], organization_id: str | None = None) -> None:
        """Upload many small files, digest → bytes, at once; repeated like `upload_blob`."""
        await self._upload("POST", "/blobs", await asyncio.to_thread(bundle, blobs), organization_id)

    async def _upload(self, method: str, path: str, content: bytes, organization_id: str | None) -> None:
        for failures in range(_UPLOAD_TRIES):
            try:
                await self.send(method, path, content=content, params={"orgId": organization_id})
                return
            except (ApiError, ServerAway) as error:
                passing = not isinstance(error, ApiError) or error.is_passing
                if not passing or failures + 1 == _UPLOAD_TRIES:
                    raise
                await asyncio.sleep(0.2 * 2**failures)

    async def deploy(self, project: Project, user_id: str, snapshot_id: str | None = None) -> AcceptedDeployment:
        """Start a deployment of a snapshot, or of the project's latest source."""
        body: dict[str, Any] = {"projectId": project.id, "orgId": project.organization_id, "userId": user_id}
        if snapshot_id:
            body["source"] = {"type": "snapshot", "id": snapshot_id}
        return await self.ask("POST", "/deploy", AcceptedDeployment, json=body)

    async def deploy_git(self, project: Project, user_id: str, url: str, ref: str = "") -> AcceptedDeployment:
        """Start a deployment of a public repository's branch, tag or commit; without a ref of its default branch."""
        body = {"projectId": project.id, "orgId": project.organization_id, "userId": user_id}
        source = {"type": "git", "url": url, "ref": ref}
        return await self.ask("POST", "/deploy", AcceptedDeployment, json={**body, "source": source})

    async def cancel(self, deployment_id: str) -> CancelledDeployment:
        """Decide that a deployment is cancelled; doing it again changes nothing."""
        return await self.ask("POST", f"/deploy/{deployment_id}/cancel", CancelledDeployment)

    async def retry(self, deployment_id: str) -> AcceptedDeployment:
        """Start a new deployment of the snapshot that an ended one was made from."""
        return await self.ask("POST", f"/deploy/{deployment_id}/retry", AcceptedDeployment)

    async def status(self, deployment_id: str) -> DeploymentStatus:
        """Return where a deployment stands."""
        return await self.ask("GET", f"/deploy/{deployment_id}/status", DeploymentStatus)

    async def deployments(
        self, limit: int = 20, cursor: str | None = None, project_id: str | None = None
    ) -> DeploymentPage:
        """Return one page of deployments, newest first."""
        params = {"limit": limit, "cursor": cursor, "projectId": project_id}
        return await self.ask("GET", "/status/deployments", DeploymentPage, params=params)

    async def logs(self, deployment_id: str, step: str | None = None) -> AsyncGenerator[LogRecord, None]:
        """Yield the lines a deployment's log has now, page by page."""
        cursor: str | None = None
        while True:
            params = {"step": step, "cursor": cursor}
            page = await self.ask("GET", f"/deploy/{deployment_id}/logs", LogPage, params=params)
            for record in page.logs:
                yield record
            if (cursor := page.next_cursor) is None:
                return

    def follow_events(
        self, deployment_id: str, on_lost: Callable[[str], None] | None = None
    ) -> AsyncGenerator[ServerEvent, None]:
        """Yield a deployment's `status` and `gap` events, live, until `end`; survives lost connections."""
        return Subscription(self.http, f"/deploy/{deployment_id}/events", self._patience, on_lost).events()

    async def follow_logs(self, deployment_id: str) -> AsyncGenerator[LogRecord | None, None]:
        """Yield a deployment's log lines from the first, live, until it ends; None where some were lost."""
        subscription = Subscription(self.http, f"/deploy/{deployment_id}/logs/stream", self._patience)
        async with aclosing(subscription.events()) as events:
            async for event in events:
                if event.name == "log":
                    yield msgspec.json.decode(event.data, type=LogRecord)
                elif event.name == "gap":
                    yield None

    async def dead_letters(
        self,
        reason: str | None = None,
        step: str | None = None,
        organization_id: str | None = None,
        limit: int = 50,
        cursor: int | None = None,
    ) -> LetterPage:
        """Return one page of dead letters, newest first."""
        params = {"reason": reason, "actor": step, "orgId": organization_id, "limit": limit, "cursor": cursor}
        return await self.ask("GET", "/status/dlq", LetterPage, params=params)

    async def dead_letter(self, sequence: int) -> WholeLetter:
        """Return a whole dead letter."""
        return await self.ask("GET", f"/status/dlq/{sequence}", WholeLetter)

    async def redrive(self, sequence: int) -> RedrivenLetter:
        """Make a new deployment of a dead letter's snapshot; a cleanup is queued again instead."""
        return await self.ask("POST", f"/status/dlq/{sequence}/redrive", RedrivenLetter)

    async def redrive_all(self, chosen: dict[str, str], *, rate: float, limit: int = 100, after: int = 0) -> Redrive:
        """Redrive `limit` letters that fit, oldest first; `chosen` holds `reason`, `actor`, `orgId` or `before`."""
        order = {"filter": chosen, "ratePerSecond": rate, "limit": limit, "after": after}
        return await self.ask("POST", "/status/dlq/redrive", Redrive, json=order)

    async def discard(self, sequence: int, reason: str) -> DiscardedLetter:
        """Remove a dead letter for good."""
        return await self.ask("DELETE", f"/status/dlq/{sequence}", DiscardedLetter, json={"reason": reason})

    async def queue(self) -> QueueState:
        """Return what waits where."""
        return await self.ask("GET", "/status/queue", QueueState)

    async def pause(self, organization_id: str | None = None) -> Paused:
        """Let nothing more of an organisation start, or with None of anyone."""
        return await self.ask("POST", "/status/queue/pause", Paused, json=_meaning(organization_id))

    async def resume(self, organization_id: str | None = None) -> Paused:
        """Take back the pause of an organisation, or with None that of everyone."""
        return await self.ask("POST", "/status/queue/resume", Paused, json=_meaning(organization_id))

    async def health(self) -> Health:
        """Return the health of the service and of its dependencies; an unhealthy one is no error."""
        try:
            return await self.ask("GET", "/health/detailed", Health)
        except ApiError as error:
            if error.status != 503 or "status" not in error.body:
                raise
            return msgspec.convert(error.body, Health)


def _meaning(organization_id: str | None) -> dict[str, str]:
    return {"orgId": organization_id} if organization_id else {}
