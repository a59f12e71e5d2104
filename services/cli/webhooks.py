"""`zepid webhooks`: whom the organisation wants to be told, and what was sent."""

from typing import Annotated, Literal

import typer

from services.cli.errors import FAILED
from services.cli.options import Json, Token, Url

Webhook = Annotated[str, typer.Argument(metavar="ID", help="The webhook; `zepid webhooks ls` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    webhooks = typer.Typer(help="Webhooks: your endpoints are told what becomes of deployments.", no_args_is_help=True)
    webhooks.command("ls", epilog="Example: zepid webhooks ls")(list_)
    webhooks.command(epilog="Example: zepid webhooks create https://example.com/hook --event deployment.failed")(create)
    webhooks.command(epilog="Example: zepid webhooks show wh_0123…")(show)
    webhooks.command(epilog="Example: zepid webhooks on wh_0123…")(on)
    webhooks.command(epilog="Example: zepid webhooks off wh_0123…")(off)
    webhooks.command(epilog="Example: zepid webhooks rotate wh_0123…")(rotate)
    webhooks.command(epilog="Example: zepid webhooks rm wh_0123…")(rm)
    webhooks.command(epilog="Example: zepid webhooks deliveries wh_0123… --status failed")(deliveries)
    webhooks.command(epilog="Example: zepid webhooks redeliver wh_0123… msg_4567…")(redeliver)
    webhooks.command("test", epilog="Example: zepid webhooks test wh_0123…")(try_)
    app.add_typer(webhooks, name="webhooks")


def list_(as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """List the organisation's webhooks, newest first."""
    from services.cli.session import run_with_client
    from services.cli.webhook_view import list_webhooks

    run_with_client(url, token, lambda client: list_webhooks(client, as_json=as_json))


def create(
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", help="The https:// address to be told.")],
    event: Annotated[
        list[str] | None, typer.Option("--event", metavar="NAME", help="Only this event; may be given several times.")
    ] = None,
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
    org: Annotated[
        str | None, typer.Option("--org", metavar="ID", help="Whose webhook. [default: the token's organisation's]")
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Make a webhook; its secret is shown only now.

    Events: deployment.accepted, .started, .succeeded, .failed, .cancelled, release.published, release.rolled_back.
    """
    from services.cli.session import run_with_client
    from services.cli.webhook_view import show_secret

    run_with_client(
        url,
        token,
        lambda client: show_secret(client.webhooks.create(endpoint, event or (), description, org), as_json=as_json),
    )


def show(webhook: Webhook, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show a webhook, and why it fails if it does."""
    from services.cli.session import run_with_client
    from services.cli.webhook_view import show_webhook

    run_with_client(url, token, lambda client: show_webhook(client.webhooks.show(webhook), as_json=as_json))


def on(webhook: Webhook, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Switch a webhook on again; what waited is sent."""
    _switch(webhook, url, token, is_active=True, as_json=as_json)


def off(webhook: Webhook, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Switch a webhook off; it is told nothing new."""
    _switch(webhook, url, token, is_active=False, as_json=as_json)


def _switch(webhook: str, url: str | None, token: str | None, *, is_active: bool, as_json: bool) -> None:
    from services.cli.session import run_with_client
    from services.cli.webhook_view import show_webhook

    run_with_client(
        url, token, lambda client: show_webhook(client.webhooks.change(webhook, isActive=is_active), as_json=as_json)
    )


def rotate(webhook: Webhook, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Make a new secret, shown only now; for a day the old one signs, too."""
    from services.cli.session import run_with_client
    from services.cli.webhook_view import show_secret

    run_with_client(url, token, lambda client: show_secret(client.webhooks.rotate_secret(webhook), as_json=as_json))


def rm(webhook: Webhook, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Remove a webhook with its deliveries."""
    from services.cli.session import run_with_client
    from services.cli.webhook_view import remove_webhook

    run_with_client(url, token, lambda client: remove_webhook(client, webhook, as_json=as_json))


def deliveries(
    webhook: Webhook,
    status: Annotated[
        Literal["pending", "delivered", "failed"] | None, typer.Option("--status", help="Only those that are so.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many.")] = 20,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List what was sent, newest first: tries, the last answer, what was wrong, the next try."""
    from services.cli.session import run_with_client
    from services.cli.webhook_view import list_deliveries

    run_with_client(url, token, lambda client: list_deliveries(client, webhook, status, limit, as_json=as_json))


def redeliver(
    webhook: Webhook,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="The message; `deliveries` shows it.")],
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Send a message again, under the same id, and say what became of it.

    Exit code: 1 when the endpoint did not take it.
    """
    from services.cli.session import run_with_client
    from services.cli.webhook_view import send

    taken = run_with_client(
        url,
        token,
        lambda client: send(client, webhook, client.webhooks.redeliver(webhook, delivery), as_json=as_json),
    )
    if not taken:
        raise typer.Exit(FAILED)


def try_(webhook: Webhook, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Send a test message and say what became of it.

    Exit code: 1 when the endpoint did not take it.
    """
    from services.cli.session import run_with_client
    from services.cli.webhook_view import send

    taken = run_with_client(
        url, token, lambda client: send(client, webhook, client.webhooks.test(webhook), as_json=as_json)
    )
    if not taken:
        raise typer.Exit(FAILED)
