"""The `zepid` command: what it can do and with which options.

Nothing heavy is imported before a command runs, so that `zepid --help` answers at once. The commands
that run services add themselves: each module of `EXTENSIONS` has a `register(app)`.
"""

import importlib
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from services.cli.errors import FAILED
from services.cli.options import Json, Token, Url

EXTENSIONS = (
    "services.cli.up",
    "services.cli.access",
    "services.cli.control",
    "services.cli.projects",
    "services.cli.env",
    "services.cli.domains",
    "services.cli.releases",
    "services.cli.dlq",
    "services.cli.failures",
    "services.cli.queue",
    "services.cli.quota",
    "services.cli.webhooks",
    "services.cli.bench",
    "services.cli.completion",
)
"""Modules with commands of their own; importing one must be cheap."""

COMPLETE = "_ZEPID_COMPLETE"
"""Environment variable that a shell sets to have a command line completed."""

app = typer.Typer(
    help="Build web apps and put them live.",
    epilog="Start with: zepid up, then: zepid deploy DIR",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Deployment = Annotated[str, typer.Argument(metavar="ID", help="The deployment, such as deploy_01k….")]


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    add_extensions()
    answer_shell()
    app(prog_name="zepid")


def add_extensions() -> None:
    """Add the commands of the extensions."""
    for name in EXTENSIONS:
        importlib.import_module(name).register(app)


def answer_shell() -> None:
    """Be ready to complete a command line when that is what the shell asks for."""
    if COMPLETE in os.environ:
        importlib.import_module("typer.completion").completion_init()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zepid {version('zepid-deploy')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build web apps and put them live."""


@app.command(
    epilog="Example: zepid deploy ./my-app, or: zepid deploy --git https://git.example.com/me/site.git --ref main"
)
def deploy(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder.")] = Path(),
    project: Annotated[str | None, typer.Option("--project", metavar="ID", help="Deploy to this project.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Deploy to the project of this name; it is made if there is none.")
    ] = None,
    git: Annotated[
        str | None, typer.Option("--git", metavar="URL", help="Deploy a public git repository instead of a folder.")
    ] = None,
    ref: Annotated[
        str | None, typer.Option("--ref", metavar="REF", help="With --git: a branch, a tag or a full commit id.")
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Upload what is missing of a folder, build it and put it live.

    The folder keeps to the project it went to first; a new one is named after package.json. A git repository goes to
    the project of its name.
    Exit code: 0 live, 1 failed, 2 misused, 3 server away or refusing, 130 interrupted.
    """
    from services.cli.choice import Choice
    from services.cli.deploy import run_deploy, run_git_deploy
    from services.cli.session import run

    if (ref is not None and git is None) or (git is not None and folder != Path()):
        raise typer.BadParameter("--ref needs --git, and --git takes the place of DIR.")
    choice = Choice(project, name)
    if git is not None:
        result = run(run_git_deploy(git, ref or "", choice, url=url, token=token, as_json=as_json))
    else:
        result = run(run_deploy(folder, choice, url=url, token=token, as_json=as_json))
    if not result.is_live:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: zepid status deploy_01k…")
def status(deployment: Deployment, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show a deployment's steps, how long they took, and why it failed."""
    from services.cli.reading import show_status
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: show_status(client, deployment, as_json=as_json))


@app.command(epilog="Example: zepid logs -f deploy_01k…")
def logs(
    deployment: Deployment,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the deployment has ended.")] = False,
    step: Annotated[str | None, typer.Option("--step", help="Only this step, such as build.")] = None,
    format: Annotated[Literal["text", "ndjson"], typer.Option("--format", help="How to print a line.")] = "text",
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print a deployment's log."""
    from services.cli.reading import show_logs
    from services.cli.session import run_with_client

    chosen = "ndjson" if as_json else format
    run_with_client(url, token, lambda client: show_logs(client, deployment, step=step, follow=follow, format=chosen))


@app.command("ls", epilog="Example: zepid ls --limit 5")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="How many.")] = 20,
    project: Annotated[str | None, typer.Option("--project", metavar="ID", help="Only of this project.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List the latest deployments."""
    from services.cli.reading import list_deployments
    from services.cli.session import run_with_client

    run_with_client(
        url, token, lambda client: list_deployments(client, limit=limit, project_id=project, as_json=as_json)
    )


@app.command("open", epilog="Example: zepid open ./my-app")
def open_(
    target: Annotated[str, typer.Argument(metavar="ID|DIR", help="A deployment, a project or a folder.")] = ".",
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Open a site in the browser, and print its address."""
    from services.cli.reading import open_site
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: open_site(client, target, as_json=as_json))


@app.command(epilog="Example: zepid doctor --data-dir .zepid")
def doctor(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where `zepid up` keeps its data.")] = Path(".zepid"),
    install: Annotated[bool, typer.Option("--install", help="Install what is optional and missing: workerd.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Check what runs, what is missing, and say how to fix it.

    Exit code: 1 when something required is missing.
    """
    from services.cli.diagnose import diagnose
    from services.cli.doctor import Patient

    if not diagnose(Patient(data_dir, url, token, install), as_json=as_json):
        raise typer.Exit(FAILED)
