"""How failed attempts are printed."""

import msgspec
import typer

from shared.client import Client


async def show_failures(client: Client, deployment_id: str, *, as_json: bool) -> None:
    """Print each failed attempt: when, where, what, and its stack trace."""
    found = await client.failures.of(deployment_id)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    if not found.errors:
        typer.echo("No attempt has failed.")
    for failed in found.errors:
        typer.echo(f"{failed.timestamp}  {failed.step}, attempt {failed.attempt}  {failed.code}: {failed.message}")
        for text in filter(None, (failed.excerpt, failed.trace)):
            typer.echo("\n".join(f"    {line}" for line in text.rstrip().splitlines()))
