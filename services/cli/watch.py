"""Following a deployment to its end, through lost connections and restarts of the service."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import msgspec

from services.cli.events import LogAdded, Notice, StatusChanged, View
from shared.client import ApiError, Client, ServerAway
from shared.client.answers import DeploymentStatus
from shared.client.sse import ServerEvent

_POLL_SECONDS = 10.0
"""A quiet event stream is checked by asking for the status: a proxy may hold events back."""

_LOG_GRACE_SECONDS = 3.0
"""How long the last log lines may come after the outcome."""


async def watch(client: Client, deployment_id: str, view: View) -> DeploymentStatus:
    """Show a deployment's steps and log until it ends; return its last status.

    Raises:
        ServerAway: the service stayed away for too long.
    """
    log = asyncio.create_task(_show_log(client, deployment_id, view))
    try:
        status = await _show_status(client, deployment_id, view)
        _, unfinished = await asyncio.wait({log}, timeout=_LOG_GRACE_SECONDS)
        if unfinished:
            view.show(Notice(message=f"The log's end is left out here. Whole log: zepid logs {deployment_id}"))
        return status
    finally:
        log.cancel()
        with suppress(asyncio.CancelledError):
            await log


async def _show_log(client: Client, deployment_id: str, view: View) -> None:
    try:
        async with aclosing(client.follow_logs(deployment_id)) as lines:
            async for line in lines:
                view.show(LogAdded(line=line) if line else Notice(message="Some log lines were lost."))
    except (ApiError, ServerAway) as error:
        view.show(Notice(message=f"The log cannot be followed: {error}"))


async def _show_status(client: Client, deployment_id: str, view: View) -> DeploymentStatus:
    def lost(reason: str) -> None:
        view.show(Notice(message=f"The connection was lost ({reason}); trying again. The deployment goes on."))

    async with (
        aclosing(client.follow_events(deployment_id, lost)) as events,
        aclosing(_statuses(client, deployment_id, events)) as statuses,
    ):
        progress = 0
        async for status in statuses:
            if status.progress < progress:
                continue
            progress = status.progress
            view.show(StatusChanged(deployment=status))
            if status.has_ended:
                return status
    return await client.status(deployment_id)


async def _statuses(
    client: Client, deployment_id: str, events: AsyncGenerator[ServerEvent, None]
) -> AsyncGenerator[DeploymentStatus, None]:
    """Yield the status at each event, and now and then when none comes; that one may be a moment older."""
    upcoming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=_POLL_SECONDS)
            if not done:
                with suppress(ServerAway, ApiError):
                    yield await client.status(deployment_id)
                continue
            event = upcoming.result()
            if event is None:
                return
            if event.name in ("status", "end"):
                yield msgspec.json.decode(event.data, type=DeploymentStatus)
            upcoming = asyncio.ensure_future(anext(events, None))
    finally:
        upcoming.cancel()
        with suppress(asyncio.CancelledError):
            await upcoming
