"""Webhooks: what an organisation is told, where, and the secret that signs it."""

from typing import Annotated

import msgspec
from litestar import delete, get, patch, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter
from msgspec import Meta

from services.gateway.auth import ADMIN
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.lookup import visible_webhook
from services.gateway.paging import read_page
from services.gateway.ports import GatewayRequest
from shared.adapters.postgres.webhooks import EVENTS, MOST_WEBHOOKS, WebhookEvent, WebhookRow, new_secret
from shared.contracts.errors import ZepidError
from shared.public_targets import check_url
from shared.times import iso_time

_NEW = Example(
    summary="Tell me how deployments end",
    value={"url": "https://hooks.example.com/zepid", "events": ["deployment.succeeded", "deployment.failed"]},
)
_CHANGE = Example(summary="Switch it off for a while", value={"isActive": False})

Events = Annotated[list[WebhookEvent], Meta(min_length=1, max_length=len(EVENTS))]
Description = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*$")]


class NewWebhook(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A webhook to make; the organisation is the token's by default, the events are all there are."""

    url: str
    events: Events = msgspec.field(default_factory=lambda: list(EVENTS))
    description: Description = ""
    org_id: str | None = None


class WebhookChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    url: str | None = None
    events: Events | None = None
    description: Description | None = None
    is_active: bool | None = None


class WebhookBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A webhook.

    Attributes:
        is_active: whether anything is sent.
        disabled_reason: why the service switched it off.
        failures: tries that failed since the last that succeeded.
        failing_since: when the first of them was.
        paused_until: the endpoint fails again and again and is left alone until then.
        previous_secret_until: until then the secret before the present one signs, too.
    """

    id: str
    organization_id: str
    url: str
    description: str
    events: list[str]
    is_active: bool
    created_at: str
    disabled_reason: str | None = None
    failures: int = 0
    failing_since: str | None = None
    paused_until: str | None = None
    previous_secret_until: str | None = None


class WebhookAnswer(msgspec.Struct, frozen=True):
    """One webhook."""

    webhook: WebhookBody


class WebhookWithSecret(msgspec.Struct, frozen=True):
    """A webhook and its new secret, which is shown only now."""

    webhook: WebhookBody
    secret: str


class WebhookPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Webhooks, newest first; `next_cursor` asks for the next page."""

    webhooks: list[WebhookBody]
    next_cursor: str | None = None


class RemovedWebhook(msgspec.Struct, frozen=True):
    """A webhook that is gone."""

    id: str
    success: bool = True


@post(
    "/webhooks",
    opt=ADMIN,
    tags=["Webhooks"],
    summary="Make a webhook",
    responses=error_responses(400, 401, 403, 409, 501, 503),
)
async def create_webhook(
    request: GatewayRequest, data: Annotated[NewWebhook, Body(examples=[_NEW])]
) -> WebhookWithSecret:
    """Make a webhook; its messages are signed as Standard Webhooks says, with the secret that is shown only now."""
    organization_id = data.org_id or request.caller.organization_id
    if not organization_id:
        raise ValidationFailed({"orgId": ["Organization ID is required"]})
    request.caller.must_act_for(organization_id)
    await check_url(data.url, request.ports.settings.webhook_networks)
    secret = new_secret()
    webhook = await request.ports.webhooks.create(
        organization_id=organization_id,
        url=data.url,
        description=data.description,
        events=data.events,
        secret=secret,
    )
    if webhook is None:
        raise ZepidError(
            "WEBHOOK_LIMIT_REACHED", f"The organisation has {MOST_WEBHOOKS} webhooks, as many as it may have"
        )
    return WebhookWithSecret(_body(webhook), secret)


@get("/webhooks", opt=ADMIN, tags=["Webhooks"], summary="List webhooks", responses=error_responses(400, 401, 403, 503))
async def list_webhooks(
    request: GatewayRequest,
    cursor: Annotated[
        str | None, QueryParameter(description="`nextCursor` of the page before", pattern=r"^[A-Za-z0-9_-]{1,100}$")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> WebhookPage:
    """Return the webhooks of the token's organisation, newest first."""
    webhooks, owner = request.ports.webhooks, request.caller.organization_id
    rows, next_cursor = await read_page(limit, lambda count: webhooks.page(owner, cursor, count))
    return WebhookPage([_body(row) for row in rows], next_cursor)


@get(
    "/webhooks/{webhook_id:str}",
    opt=ADMIN,
    tags=["Webhooks"],
    summary="Read a webhook",
    responses=error_responses(401, 403, 404, 503),
)
async def read_webhook(request: GatewayRequest, webhook_id: FromPath[str]) -> WebhookAnswer:
    """Return one webhook, without its secret."""
    return WebhookAnswer(_body(await visible_webhook(request, webhook_id)))


@patch(
    "/webhooks/{webhook_id:str}",
    opt=ADMIN,
    tags=["Webhooks"],
    summary="Change a webhook",
    responses=error_responses(400, 401, 403, 404, 503),
)
async def change_webhook(
    request: GatewayRequest, webhook_id: FromPath[str], data: Annotated[WebhookChange, Body(examples=[_CHANGE])]
) -> WebhookAnswer:
    """Change a webhook, or switch it on or off. Off, it is told nothing new; what waits is sent when it is on again."""
    webhook = await visible_webhook(request, webhook_id)
    if data.url is not None:
        await check_url(data.url, request.ports.settings.webhook_networks)
    changed = await request.ports.webhooks.change(
        webhook.id, url=data.url, description=data.description, events=data.events, is_active=data.is_active
    )
    return WebhookAnswer(_body(changed or webhook))


@post(
    "/webhooks/{webhook_id:str}/secret",
    status_code=200,
    opt=ADMIN,
    tags=["Webhooks"],
    summary="Rotate a webhook's secret",
    responses=error_responses(401, 403, 404, 501, 503),
)
async def rotate_secret(request: GatewayRequest, webhook_id: FromPath[str]) -> WebhookWithSecret:
    """Make a new secret, shown only now. For a day the one before it signs every message, too."""
    webhook = await visible_webhook(request, webhook_id)
    secret = new_secret()
    changed = await request.ports.webhooks.change_secret(webhook.id, secret)
    return WebhookWithSecret(_body(changed or webhook), secret)


@delete(
    "/webhooks/{webhook_id:str}",
    status_code=200,
    opt=ADMIN,
    tags=["Webhooks"],
    summary="Remove a webhook",
    responses=error_responses(401, 403, 404, 503),
)
async def remove_webhook(request: GatewayRequest, webhook_id: FromPath[str]) -> RemovedWebhook:
    """Remove a webhook with its deliveries; nothing more is sent."""
    webhook = await visible_webhook(request, webhook_id)
    await request.ports.webhooks.remove(webhook.id)
    return RemovedWebhook(webhook.id)


def _body(row: WebhookRow) -> WebhookBody:
    return WebhookBody(
        id=row.id,
        organization_id=row.organization_id,
        url=row.url,
        description=row.description,
        events=row.events,
        is_active=row.is_active,
        created_at=iso_time(row.created_at.timestamp()),
        disabled_reason=row.disabled_reason,
        failures=row.failures,
        failing_since=iso_time(row.failing_since.timestamp()) if row.failing_since else None,
        paused_until=iso_time(row.paused_until.timestamp()) if row.paused_until else None,
        previous_secret_until=iso_time(row.previous_until.timestamp()) if row.previous_until else None,
    )


HANDLERS = [create_webhook, list_webhooks, read_webhook, change_webhook, rotate_secret, remove_webhook]
