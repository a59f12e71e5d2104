"""Finding what a request names; what belongs to a foreign organisation answers like what is missing."""

import re
import time
from typing import Any

import msgspec

from services.gateway.audit import note_owner
from services.gateway.ports import GatewayRequest
from services.gateway.queue_estimate import QueuePlace
from services.gateway.status import StatusBody, progress_in, render
from shared.adapters.postgres.projects import ProjectRow
from shared.adapters.postgres.tokens import KeyRecord
from shared.adapters.postgres.webhooks import DeliveryRow, WebhookRow
from shared.contracts.errors import ZepidError
from shared.projection import Progress

_PRINTABLE_ID = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
"""Ids of the platform have any form, but none that the database can't hold."""
_DEPLOYMENT_ID = re.compile(r"[\w-]{1,100}", re.ASCII)


class DeploymentRow:
    """A deployment with its projection, as the database has them at one moment."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.id: str = row["id"]
        self.organization_id: str = row["organization_id"]
        self.retry_of: str | None = row["retry_of"]
        self.accepted_at: float = row["accepted_at"].timestamp()
        self.queue = msgspec.convert(row, QueuePlace) if row["queue_position"] else None
        self.progress: Progress | None = progress_in(row)

    @property
    def finished(self) -> bool:
        """Whether nothing about it will change."""
        return self.progress is not None and self.progress.finished

    def body(self, estimated_start_seconds: int | None = None) -> StatusBody:
        """Return what callers see."""
        queue = self.queue
        return render(
            self.id,
            self.accepted_at,
            self.progress,
            time.time(),
            queue_position=queue.queue_position if queue else None,
            estimated_start_seconds=estimated_start_seconds,
            queue_paused=queue is not None and queue.paused,
            retry_of=self.retry_of,
        )


async def visible_deployment(request: GatewayRequest, deployment_id: str) -> DeploymentRow:
    """Return a deployment of the caller's organisation; raises NOT_FOUND."""
    row = await request.ports.deployments.status(deployment_id) if _DEPLOYMENT_ID.fullmatch(deployment_id) else None
    if row is None or not request.caller.sees(row["organization_id"]):
        raise ZepidError("NOT_FOUND", "There is no deployment of this id, or the token may not see it")
    note_owner(request.scope, row["organization_id"])
    return DeploymentRow(row)


async def visible_project(request: GatewayRequest, project_id: str) -> ProjectRow:
    """Return a project of the caller's organisation; raises PROJECT_NOT_FOUND."""
    project = await request.ports.projects.find(project_id) if _PRINTABLE_ID.fullmatch(project_id) else None
    if project is None or not request.caller.sees(project.organization_id):
        raise ZepidError("PROJECT_NOT_FOUND", PROJECT_NOT_FOUND)
    note_owner(request.scope, project.organization_id)
    return project


async def visible_key(request: GatewayRequest, key_id: str) -> KeyRecord:
    """Return an API key of the caller's organisation, without the scope `admin` only the caller's own; NOT_FOUND."""
    caller = request.caller
    key = await request.ports.tokens.get(key_id) if _PRINTABLE_ID.fullmatch(key_id) else None
    if key is None or not caller.sees(key.organization_id) or not (caller.has("admin") or key.id == caller.credential):
        raise ZepidError("NOT_FOUND", "There is no API key of this id, or the token may not see it")
    if key.organization_id is not None:
        note_owner(request.scope, key.organization_id)
    return key


async def visible_webhook(request: GatewayRequest, webhook_id: str) -> WebhookRow:
    """Return a webhook of the caller's organisation; raises NOT_FOUND."""
    webhook = await request.ports.webhooks.find(webhook_id) if _PRINTABLE_ID.fullmatch(webhook_id) else None
    if webhook is None or not request.caller.sees(webhook.organization_id):
        raise ZepidError("NOT_FOUND", "There is no webhook of this id, or the token may not see it")
    note_owner(request.scope, webhook.organization_id)
    return webhook


async def delivery_of(request: GatewayRequest, webhook: WebhookRow, delivery_id: str) -> DeliveryRow:
    """Return a delivery of a webhook, with its payload; raises NOT_FOUND."""
    known = _PRINTABLE_ID.fullmatch(delivery_id)
    delivery = await request.ports.webhooks.delivery(webhook.id, delivery_id) if known else None
    if delivery is None:
        raise ZepidError("NOT_FOUND", "The webhook has no delivery of this id; old ones are removed")
    return delivery


PROJECT_NOT_FOUND = "The specified project does not exist or you do not have access to it"
PROJECT_LOCKED = "The project is locked: nothing is put live for it until it is unlocked"
"""Why a deployment or a rollback is refused."""
