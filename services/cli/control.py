"""`zepid cancel` and `zepid retry`."""

from typing import Annotated

import typer

from services.cli.errors import FAILED
from services.cli.options import Json, Token, Url

Deployment = Annotated[str, typer.Argument(metavar="ID", help="The deployment, such as deploy_01k….")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: zepid cancel deploy_01k…")(cancel)
    app.command(epilog="Example: zepid retry deploy_01k…")(retry)


def cancel(
    deployment: Deployment,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until its processes are dead.")] = True,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Cancel a deployment that waits or runs.

    Exit code: 0 cancelled, 2 misused, 3 server away or refusing (it had ended), 130 interrupted.
    """
    from services.cli.cancelling import cancel_deployment
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: cancel_deployment(client, deployment, wait=wait, as_json=as_json))


def retry(
    deployment: Deployment,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Watch the new deployment to its end.")] = True,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Deploy the same source again, as a new deployment.

    Exit code: 0 live, 1 failed, 2 misused, 3 server away or refusing, 130 interrupted.
    """
    from services.cli.cancelling import print_retry
    from services.cli.deploy import run_retry
    from services.cli.session import run, run_with_client

    if not follow:
        run_with_client(url, token, lambda client: print_retry(client, deployment, as_json=as_json))
    elif not run(run_retry(deployment, url=url, token=token, as_json=as_json)).is_live:
        raise typer.Exit(FAILED)
