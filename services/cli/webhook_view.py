"""What `zepid webhooks` asks the server, and how it shows the answers."""

import asyncio
import time
from collections.abc import Awaitable

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from services.cli.render import printable
from shared.client import Client
from shared.client.webhooks import Delivery, NewSecret, Webhook
from shared.times import iso_time

_ENDLESS = 1000
_PAGE = 200
_PATIENCE_SECONDS = 30.0
"""A little longer than an endpoint has to answer."""


async def list_webhooks(client: Client, *, as_json: bool) -> None:
    """Print the webhooks, newest first."""
    page = await client.webhooks.list(_PAGE)
    if as_json:
        for webhook in page.webhooks:
            _print_json(webhook)
        return
    if not page.webhooks:
        typer.echo("No webhooks. Make one: zepid webhooks create https://…")
        return
    table = Table("Webhook", "State", "Endpoint", "Events", box=None, pad_edge=False)
    for webhook in page.webhooks:
        table.add_row(webhook.id, _state(webhook), printable(webhook.url), ", ".join(webhook.events))
    _console().print(table)


async def show_webhook(asked: Awaitable[Webhook], *, as_json: bool) -> None:
    """Print a webhook."""
    webhook = await asked
    if as_json:
        _print_json(webhook)
    else:
        typer.echo("\n".join(_lines(webhook)))


async def show_secret(asked: Awaitable[NewSecret], *, as_json: bool) -> None:
    """Print a webhook and its new secret."""
    made = await asked
    if as_json:
        _print_json(made)
        return
    typer.echo("\n".join(_lines(made.webhook)))
    typer.echo(f"Secret      {made.secret}")
    typer.echo(f"Keep it: it is shown only now. Try the endpoint: zepid webhooks test {made.webhook.id}")


async def remove_webhook(client: Client, webhook_id: str, *, as_json: bool) -> None:
    """Remove a webhook."""
    await client.webhooks.remove(webhook_id)
    typer.echo(msgspec.json.encode({"id": webhook_id}).decode() if as_json else f"{webhook_id} removed")


async def list_deliveries(client: Client, webhook_id: str, status: str | None, limit: int, *, as_json: bool) -> None:
    """Print deliveries, newest first."""
    page = await client.webhooks.deliveries(webhook_id, status, limit)
    if as_json:
        for delivery in page.deliveries:
            _print_json(delivery)
        return
    if not page.deliveries:
        typer.echo("No deliveries.")
        return
    table = Table("Delivery", "When", "Event", "State", "Tries", "Next try", "Fault", box=None, pad_edge=False)
    for row in page.deliveries:
        fault = printable(row.fault or "")
        table.add_row(
            row.id, _moment(row.created_at), row.event, row.status, str(row.tries), _moment(row.next_try_at), fault
        )
    _console().print(table)
    if page.next_cursor:
        typer.echo(f"There are more than {limit}. See them: --limit, at most {_PAGE}, or --status")


async def send(client: Client, webhook_id: str, asked: Awaitable[Delivery], *, as_json: bool) -> bool:
    """Wait until a message was tried; print what became of it, return whether the endpoint took it."""
    delivery = await asked
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while delivery.status == "pending" and not _was_tried(delivery) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        delivery = await client.webhooks.delivery(webhook_id, delivery.id)
    if as_json:
        _print_json(delivery)
    else:
        typer.echo(_ending(delivery))
    return delivery.status == "delivered"


def _was_tried(delivery: Delivery) -> bool:
    """Whether it waits for its next try; while a first one is under way, the next is not yet set."""
    return delivery.tries > 0 and (delivery.next_try_at or "") > iso_time(time.time())


def _ending(delivery: Delivery) -> str:
    if delivery.status == "delivered":
        return f"{delivery.id} delivered: HTTP {delivery.answer}"
    reason = printable(delivery.fault or "not tried yet; is the sender running?")
    again = f" It is tried again at {_moment(delivery.next_try_at)}." if delivery.status == "pending" else ""
    return f"{delivery.id} not delivered: {reason}.{again}"


def _state(webhook: Webhook) -> str:
    if not webhook.is_active:
        return "given up" if webhook.disabled_reason else "off"
    return "failing" if webhook.failing_since else "on"


def _lines(webhook: Webhook) -> list[str]:
    failing = f"{webhook.failures} tries in a row since {_moment(webhook.failing_since)}" if webhook.failures else ""
    facts = {
        "Webhook": f"{webhook.id}, {_state(webhook)}",
        "Endpoint": printable(webhook.url),
        "Purpose": printable(webhook.description),
        "Events": ", ".join(webhook.events),
        "Failed": failing,
        "Given up": printable(webhook.disabled_reason or ""),
    }
    return [f"{name:<12}{value}" for name, value in facts.items() if value]


def _moment(at: str | None) -> str:
    return at[:19].replace("T", " ") if at else ""


def _console() -> Console:
    return Console(highlight=False, width=_ENDLESS, markup=False)


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.encode(value).decode())
