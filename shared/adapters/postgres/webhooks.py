"""Webhooks and their deliveries, as the organisation that owns them sees them."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args
from uuid import uuid4

import asyncpg
import msgspec

from shared.adapters.postgres.database import load_queries
from shared.sealing import Seal

SECRET_PREFIX = "whsec_"
WebhookEvent = Literal[
    "deployment.accepted",
    "deployment.started",
    "deployment.succeeded",
    "deployment.failed",
    "deployment.cancelled",
    "release.published",
    "release.rolled_back",
]
EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
TEST_EVENT = "webhook.test"
"""Sent on request only, whatever a webhook wants, and tried once."""
MOST_WEBHOOKS = 20
"""Of one organisation: each costs a row at every event."""
OVERLAP_SECONDS = 86_400
"""How long the secret before the present one signs, too."""


class WebhookRow(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook.

    Attributes:
        is_active: whether it is told anything.
        disabled_reason: why the sender switched it off, None when its owner did.
        failures: tries that failed since the last that succeeded; `failing_since` the first of them.
        paused_until: until when the sender leaves the endpoint alone.
    """

    id: str
    organization_id: str
    url: str
    description: str
    events: list[str]
    is_active: bool
    disabled_reason: str | None
    failures: int
    failing_since: datetime | None
    paused_until: datetime | None
    previous_until: datetime | None
    created_at: datetime


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one webhook; `answer` is the HTTP status of the last try, `fault` what was wrong with it."""

    id: str
    event: str
    tries: int
    status: str
    answer: int | None
    fault: str | None
    created_at: datetime
    next_try_at: datetime | None
    delivered_at: datetime | None
    payload: str | None = None


def new_secret() -> str:
    """Return a secret in the form of Standard Webhooks: 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


class Webhooks:
    """The tables `webhook` and `webhook_delivery`, but for what the sender does with them."""

    def __init__(self, pool: asyncpg.Pool, seal: Seal) -> None:
        self._pool = pool
        self._seal = seal
        self._sql = load_queries("webhooks")

    async def create(
        self, *, organization_id: str, url: str, description: str, events: Sequence[str], secret: str
    ) -> WebhookRow | None:
        """Insert a webhook; None when the organisation has as many as it may have.

        Raises:
            ZepidError: ENCRYPTION_KEY_MISSING, the secret can't be kept.
        """
        row = await self._sql.create(
            self._pool,
            id=f"wh_{uuid4().hex}",
            organization_id=organization_id,
            url=url,
            description=description,
            events=events,
            secret=self._seal.seal(secret),
            most=MOST_WEBHOOKS,
        )
        return _webhook(row)

    async def find(self, webhook_id: str) -> WebhookRow | None:
        """Return the webhook, or None."""
        return _webhook(await self._sql.find(self._pool, id=webhook_id))

    async def page(self, organization_id: str | None, after: str | None, limit: int) -> list[WebhookRow]:
        """Return webhooks newest first, those below the webhook `after`; None: all, from the first."""
        rows = self._sql.page(self._pool, organization_id=organization_id, after=after, limit=limit)
        return msgspec.convert([dict(row) async for row in rows], list[WebhookRow])

    async def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        description: str | None = None,
        events: Sequence[str] | None = None,
        is_active: bool | None = None,
    ) -> WebhookRow | None:
        """Change what is not None; a webhook that is switched on, or gets another URL, starts without a past."""
        row = await self._sql.change(
            self._pool, id=webhook_id, url=url, description=description, events=events, is_active=is_active
        )
        return _webhook(row)

    async def change_secret(self, webhook_id: str, secret: str) -> WebhookRow | None:
        """Sign with another secret from now on, and for `OVERLAP_SECONDS` with the present one, too.

        Raises:
            ZepidError: ENCRYPTION_KEY_MISSING, the secret can't be kept.
        """
        row = await self._sql.change_secret(
            self._pool, id=webhook_id, secret=self._seal.seal(secret), overlap_seconds=OVERLAP_SECONDS
        )
        return _webhook(row)

    async def remove(self, webhook_id: str) -> None:
        """Remove a webhook with its deliveries."""
        await self._sql.remove(self._pool, id=webhook_id)

    async def deliveries(self, webhook_id: str, status: str | None, after: str | None, limit: int) -> list[DeliveryRow]:
        """Return deliveries newest first, those below the delivery `after`; None: all, from the first."""
        rows = self._sql.deliveries(self._pool, webhook_id=webhook_id, status=status, after=after, limit=limit)
        return msgspec.convert([dict(row) async for row in rows], list[DeliveryRow])

    async def delivery(self, webhook_id: str, delivery_id: str) -> DeliveryRow | None:
        """Return a delivery with its payload, or None."""
        return _delivery(await self._sql.delivery(self._pool, webhook_id=webhook_id, id=delivery_id))

    async def send_test(self, webhook_id: str) -> DeliveryRow | None:
        """Record a test message, the next to be sent to this webhook; None when there is no such webhook."""
        return _delivery(await self._sql.send_test(self._pool, webhook_id=webhook_id, event=TEST_EVENT))

    async def send_again(self, webhook_id: str, delivery_id: str) -> DeliveryRow | None:
        """Make a delivery the next to be sent, with all its tries; None when there is no such delivery."""
        return _delivery(await self._sql.send_again(self._pool, webhook_id=webhook_id, id=delivery_id))


def _webhook(row: asyncpg.Record | None) -> WebhookRow | None:
    return msgspec.convert(dict(row), WebhookRow) if row else None


def _delivery(row: asyncpg.Record | None) -> DeliveryRow | None:
    return msgspec.convert(dict(row), DeliveryRow) if row else None
