"""Runs one command: finds the server, and turns every ending into an exit code and a clear text."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import typer

from services.cli.connection import Connection, find_connection
from services.cli.errors import INTERRUPTED, REFUSED, CommandError
from shared.client import ApiError, Client, ClientError

_T = TypeVar("_T")


def run_with_client(url: str | None, token: str | None, command: Callable[[Client], Awaitable[_T]]) -> _T:
    """Run a command that asks the server that is meant; see `find_connection` and `run`."""
    return run_with_connection(url, token, lambda client, _: command(client))


def run_with_connection(
    url: str | None, token: str | None, command: Callable[[Client, Connection], Awaitable[_T]]
) -> _T:
    """Run a command that asks the server that is meant, and is told what is known of it."""

    async def connected() -> _T:
        connection = find_connection(url, token)
        async with Client(connection.url, connection.token) as client:
            return await command(client, connection)

    return run(connected())


def run(command: Coroutine[Any, Any, _T]) -> _T:
    """Run a command to its end.

    Raises:
        typer.Exit: it failed; the reason has been printed to stderr.
    """
    try:
        return asyncio.run(command)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except CommandError as error:
        complain(str(error))
        raise typer.Exit(error.exit_code) from None
    except ClientError as error:
        complain(*explanation(error))
        raise typer.Exit(REFUSED) from None


def complain(*lines: str) -> None:
    """Print an error for people."""
    for number, line in enumerate(lines):
        typer.echo(line if number else f"Error: {line}", err=True)


def explanation(error: ClientError) -> list[str]:
    """Return what the service said and what to do about it."""
    if not isinstance(error, ApiError):
        return [str(error)]
    lines = [str(error)]
    fields = error.details.get("fieldErrors")
    if isinstance(fields, dict):
        lines += [f"  {field}: {'; '.join(map(str, reasons))}" for field, reasons in fields.items()]
    if error.status in (401, 403):
        lines.append("Set ZEPID_TOKEN to a token of this server with the needed scope.")
    if active := error.body.get("deploymentId"):
        lines.append(f"It is {active}. Watch it: zepid logs -f {active}. Stop it: zepid cancel {active}")
    if error.code == "RATE_LIMITED":
        lines.append("An operator can allow more: DEPLOY_RATE_LIMIT and DEPLOY_RATE_WINDOW of `zepid up`.")
    if error.retry_after:
        lines.append(f"Try again in {error.retry_after} s.")
    if error.status >= 500 and error.request_id:
        lines.append(f"The operator finds it by request id {error.request_id}.")
    return lines
