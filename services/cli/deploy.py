"""`zepid deploy`: a folder becomes a live site."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from services.cli.choice import Choice, choose_project, choose_repository_project
from services.cli.connection import Connection, find_connection
from services.cli.errors import CommandError, NoConnection
from services.cli.events import Accepted, DeployResult, ProjectChosen, Scanned, View
from services.cli.scan import scan
from services.cli.upload import upload
from services.cli.views import view_for
from services.cli.watch import watch
from shared.client import ApiError, Client, ClientError
from shared.client.answers import DeploymentStatus
from shared.contracts.errors import CODES, Failure


async def deploy_folder(client: Client, folder: Path, view: View, choice: Choice | None = None) -> DeployResult:
    """Upload what is missing of a folder, deploy it, show it, and return how it ended.

    The view hears everything; a result comes last, also when this raises or is cancelled.

    Raises:
        CommandError: the folder cannot be deployed or the project is unclear; nothing was deployed.
        ClientError: the service refused or is away; a deployment that was accepted goes on.
    """
    return await show_deployment(client, view, lambda: _start(client, folder, view, choice or Choice()))


async def show_deployment(client: Client, view: View, start: Callable[[], Awaitable[str]]) -> DeployResult:
    """Start a deployment with `start`, which returns its id, show it, and return how it ended; see `deploy_folder`."""
    deployment_id: str | None = None
    try:
        deployment_id = await start()
        view.show(Accepted(deployment_id=deployment_id))
        result = _result(await watch(client, deployment_id, view))
        view.show(result)
        return result
    except asyncio.CancelledError:
        view.show(DeployResult(deployment_id=deployment_id, status="interrupted"))
        raise
    except (CommandError, ClientError) as error:
        view.show(DeployResult(deployment_id=deployment_id, status="error", diagnosis=_diagnosis(error)))
        raise
    finally:
        view.close()


async def run_deploy(
    folder: Path, choice: Choice, *, url: str | None, token: str | None, as_json: bool
) -> DeployResult:
    """Deploy a folder to the server that is meant, shown in the form that fits; see `deploy_folder`."""
    view = view_for(as_json=as_json)
    connection = _connection(url, token, view)
    async with Client(connection.url, connection.token) as client:
        organization_id = connection.organization_id or None
        return await deploy_folder(client, folder, view, replace(choice, organization_id=organization_id))


async def run_git_deploy(
    git_url: str, ref: str, choice: Choice, *, url: str | None, token: str | None, as_json: bool
) -> DeployResult:
    """Deploy a public git repository, shown in the form that fits; see `deploy_folder`."""
    view = view_for(as_json=as_json)
    connection = _connection(url, token, view)
    async with Client(connection.url, connection.token) as client:
        whose = replace(choice, organization_id=connection.organization_id or None)

        async def start() -> str:
            identity = await client.whoami()
            project, created = await choose_repository_project(client, git_url, whose, identity)
            view.show(ProjectChosen(project=project, created=created))
            return (await client.deploy_git(project, identity.user_id, git_url, ref)).deployment_id

        return await show_deployment(client, view, start)


async def run_retry(deployment_id: str, *, url: str | None, token: str | None, as_json: bool) -> DeployResult:
    """Deploy the snapshot of an ended deployment again, shown in the form that fits; see `deploy_folder`."""
    view = view_for(as_json=as_json)
    connection = _connection(url, token, view)
    async with Client(connection.url, connection.token) as client:

        async def start() -> str:
            return (await client.retry(deployment_id)).deployment_id

        return await show_deployment(client, view, start)


def _connection(url: str | None, token: str | None, view: View) -> Connection:
    try:
        return find_connection(url, token)
    except NoConnection as error:
        view.show(DeployResult(deployment_id=None, status="error", diagnosis=_diagnosis(error)))
        raise


async def _start(client: Client, folder: Path, view: View, choice: Choice) -> str:
    source = await asyncio.to_thread(scan, folder)
    tree = source.manifest
    view.show(
        Scanned(
            folder=str(source.folder), files=len(tree.files), total_bytes=tree.total_bytes, warnings=source.warnings
        )
    )
    identity = await client.whoami()
    project, created = await choose_project(client, source.folder, choice, identity)
    view.show(ProjectChosen(project=project, created=created))
    snapshot_id = await upload(client, project, source, view)
    return (await client.deploy(project, identity.user_id, snapshot_id)).deployment_id


def _result(status: DeploymentStatus) -> DeployResult:
    return DeployResult(
        deployment_id=status.deployment_id,
        status=status.status,
        worker_url=status.worker_url,
        diagnosis=status.diagnosis,
        duration=status.duration,
    )


def _diagnosis(error: CommandError | ClientError) -> Failure:
    """Put what stopped the command itself in the form in which failures of deployments are told."""
    name = error.code if isinstance(error, CommandError | ApiError) else "SERVICE_UNAVAILABLE"
    code = CODES[name]
    return Failure(
        code=name,
        step="request",
        failure_class=code.failure_class.value,
        retryable=code.retryable,
        message=str(error),
        hint=code.hint,
    )
