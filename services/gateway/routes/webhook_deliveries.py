"""What was sent to a webhook, what became of it, and sending it again."""

from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import FromPath, QueryParameter

from services.gateway.auth import ADMIN
from services.gateway.errors import error_responses
from services.gateway.lookup import delivery_of, visible_webhook
from services.gateway.paging import read_page
from services.gateway.ports import GatewayRequest
from shared.adapters.postgres.webhooks import DeliveryRow, WebhookRow
from shared.contracts.errors import ZepidError
from shared.times import iso_time

Status = Literal["pending", "delivered", "failed"]


class DeliveryBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A message to a webhook.

    Attributes:
        id: the `webhook-id` header of every try.
        status: `pending`, `delivered` or `failed`.
        tries: how often it was sent since it was recorded, or asked for again.
        answer: HTTP status of the last try, where there was an answer.
        fault: why the last try does not count.
        next_try_at: while pending; a past moment means as soon as it is its turn.
    """

    id: str
    event: str
    status: str
    tries: int
    created_at: str
    answer: int | None = None
    fault: str | None = None
    next_try_at: str | None = None
    delivered_at: str | None = None


class WholeDelivery(DeliveryBody, frozen=True, kw_only=True):
    """A message with what was sent, as it was sent."""

    payload: msgspec.Raw


class DeliveryPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Deliveries, newest first; `next_cursor` asks for the next page."""

    deliveries: list[DeliveryBody]
    next_cursor: str | None = None


class DeliveryAnswer(msgspec.Struct, frozen=True):
    """A message that will be sent in a moment."""

    delivery: DeliveryBody


@get(
    "/webhooks/{webhook_id:str}/deliveries",
    opt=ADMIN,
    tags=["Webhooks"],
    summary="List a webhook's deliveries",
    responses=error_responses(400, 401, 403, 404, 503),
)
async def list_deliveries(
    request: GatewayRequest,
    webhook_id: FromPath[str],
    status: Annotated[Status | None, QueryParameter(description="Only those that are so")] = None,
    cursor: Annotated[
        str | None, QueryParameter(description="`nextCursor` of the page before", pattern=r"^[A-Za-z0-9_-]{1,100}$")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> DeliveryPage:
    """Return what was recorded for a webhook, newest first; old deliveries are removed."""
    webhook = await visible_webhook(request, webhook_id)
    rows, next_cursor = await read_page(
        limit, lambda count: request.ports.webhooks.deliveries(webhook.id, status, cursor, count)
    )
    return DeliveryPage([_body(row) for row in rows], next_cursor)


@get(
    "/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}",
    opt=ADMIN,
    tags=["Webhooks"],
    summary="Read a delivery",
    responses=error_responses(401, 403, 404, 503),
)
async def read_delivery(
    request: GatewayRequest, webhook_id: FromPath[str], delivery_id: FromPath[str]
) -> WholeDelivery:
    """Return a delivery with its payload."""
    row = await delivery_of(request, await visible_webhook(request, webhook_id), delivery_id)
    payload = msgspec.Raw((row.payload or "{}").encode())
    return WholeDelivery(**msgspec.structs.asdict(_body(row)), payload=payload)


@post(
    "/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}/redeliver",
    status_code=202,
    opt=ADMIN,
    tags=["Webhooks"],
    summary="Send a delivery again",
    responses=error_responses(401, 403, 404, 409, 503),
)
async def redeliver(request: GatewayRequest, webhook_id: FromPath[str], delivery_id: FromPath[str]) -> DeliveryAnswer:
    """Send a message again, whatever became of it, under the same id; its tries start anew."""
    webhook = await _active_webhook(request, webhook_id)
    row = await delivery_of(request, webhook, delivery_id)
    return DeliveryAnswer(_body(await request.ports.webhooks.send_again(webhook.id, row.id) or row))


@post(
    "/webhooks/{webhook_id:str}/test",
    status_code=202,
    opt=ADMIN,
    tags=["Webhooks"],
    summary="Send a test message",
    responses=error_responses(401, 403, 404, 409, 503),
)
async def send_test(request: GatewayRequest, webhook_id: FromPath[str]) -> DeliveryAnswer:
    """Send a `webhook.test` message, once, before all that waits; the delivery tells what became of it."""
    webhook = await _active_webhook(request, webhook_id)
    row = await request.ports.webhooks.send_test(webhook.id)
    if row is None:
        raise ZepidError("NOT_FOUND", "The webhook was removed meanwhile")
    return DeliveryAnswer(_body(row))


async def _active_webhook(request: GatewayRequest, webhook_id: str) -> WebhookRow:
    webhook = await visible_webhook(request, webhook_id)
    if not webhook.is_active:
        raise ZepidError("WEBHOOK_INACTIVE", "The webhook is switched off, so nothing is sent to it")
    return webhook


def _body(row: DeliveryRow) -> DeliveryBody:
    return DeliveryBody(
        id=row.id,
        event=row.event,
        status=row.status,
        tries=row.tries,
        created_at=iso_time(row.created_at.timestamp()),
        answer=row.answer,
        fault=row.fault,
        next_try_at=iso_time(row.next_try_at.timestamp()) if row.next_try_at else None,
        delivered_at=iso_time(row.delivered_at.timestamp()) if row.delivered_at else None,
    )


HANDLERS = [list_deliveries, read_delivery, redeliver, send_test]
