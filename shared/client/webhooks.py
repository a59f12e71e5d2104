"""Webhooks: whom an organisation wants to be told, and what was sent."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from shared.client.answers import Answer
from shared.client.transport import Transport


class Webhook(Answer, frozen=True):
    """A webhook; `disabled_reason` says why the service switched it off."""

    id: str
    organization_id: str
    url: str
    events: tuple[str, ...]
    is_active: bool
    created_at: str
    description: str = ""
    disabled_reason: str | None = None
    failures: int = 0
    failing_since: str | None = None
    paused_until: str | None = None
    previous_secret_until: str | None = None


class WebhookPage(Answer, frozen=True):
    """Webhooks, newest first; `next_cursor` asks for the next page."""

    webhooks: tuple[Webhook, ...]
    next_cursor: str | None = None


class NewSecret(Answer, frozen=True):
    """A webhook and its secret, which can't be read again."""

    webhook: Webhook
    secret: str


class Delivery(Answer, frozen=True):
    """A message to a webhook; `status` is `pending`, `delivered` or `failed`, `answer` the last HTTP status."""

    id: str
    event: str
    status: str
    tries: int
    created_at: str
    answer: int | None = None
    fault: str | None = None
    next_try_at: str | None = None
    delivered_at: str | None = None
    payload: Any = None


class DeliveryPage(Answer, frozen=True):
    """Deliveries, newest first; `next_cursor` asks for the next page."""

    deliveries: tuple[Delivery, ...]
    next_cursor: str | None = None


class _WebhookAnswer(Answer, frozen=True):
    webhook: Webhook


class _DeliveryAnswer(Answer, frozen=True):
    delivery: Delivery


class _Removed(Answer, frozen=True):
    id: str


class Webhooks:
    """`client.webhooks`: those of the token's organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, limit: int = 50, cursor: str | None = None) -> WebhookPage:
        """Return one page of webhooks, newest first."""
        return await self._transport.ask("GET", "/webhooks", WebhookPage, params={"limit": limit, "cursor": cursor})

    async def create(
        self, url: str, events: Sequence[str] = (), description: str = "", organization_id: str | None = None
    ) -> NewSecret:
        """Make a webhook that is told these events, by default all; the secret is shown only now."""
        order: dict[str, Any] = {"url": url, "description": description}
        order |= {"events": list(events)} if events else {}
        order |= {"orgId": organization_id} if organization_id else {}
        return await self._transport.ask("POST", "/webhooks", NewSecret, json=order)

    async def show(self, webhook_id: str) -> Webhook:
        """Return one webhook."""
        return (await self._transport.ask("GET", _path(webhook_id), _WebhookAnswer)).webhook

    async def change(self, webhook_id: str, **changes: Any) -> Webhook:
        """Change `url`, `events`, `description` or `isActive`."""
        return (await self._transport.ask("PATCH", _path(webhook_id), _WebhookAnswer, json=changes)).webhook

    async def rotate_secret(self, webhook_id: str) -> NewSecret:
        """Make a new secret; for a day the one before it signs every message, too."""
        return await self._transport.ask("POST", _path(webhook_id, "secret"), NewSecret)

    async def remove(self, webhook_id: str) -> None:
        """Remove a webhook with its deliveries."""
        await self._transport.ask("DELETE", _path(webhook_id), _Removed)

    async def deliveries(
        self, webhook_id: str, status: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> DeliveryPage:
        """Return one page of deliveries, newest first."""
        params = {"status": status, "limit": limit, "cursor": cursor}
        return await self._transport.ask("GET", _path(webhook_id, "deliveries"), DeliveryPage, params=params)

    async def delivery(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Return a delivery with its payload."""
        return await self._transport.ask("GET", _path(webhook_id, "deliveries", delivery_id), Delivery)

    async def redeliver(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Send a message again, under the same id."""
        path = _path(webhook_id, "deliveries", delivery_id, "redeliver")
        return (await self._transport.ask("POST", path, _DeliveryAnswer)).delivery

    async def test(self, webhook_id: str) -> Delivery:
        """Send a test message; `delivery` tells what became of it."""
        return (await self._transport.ask("POST", _path(webhook_id, "test"), _DeliveryAnswer)).delivery


def _path(*parts: str) -> str:
    return "/".join(["/webhooks", *(quote(part, safe="") for part in parts)])
