"""`zepid releases`, `rollback`, `lock`, `unlock`, `pin`, `unpin`, `artifacts` and `cleanup`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from services.cli.options import Json, Project, Token, Url

Release = Annotated[str, typer.Argument(metavar="RELEASE", help="The release; `zepid releases` shows it.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: zepid releases --project my-shop-x1y2z3")(releases)
    app.command(epilog="Example: zepid rollback --reason 'the checkout is broken'")(rollback)
    app.command(epilog="Example: zepid lock --reason 'sale until Monday'")(lock)
    app.command(epilog="Example: zepid unlock")(unlock)
    app.command(epilog="Example: zepid pin rel_4f1c…")(pin)
    app.command(epilog="Example: zepid unpin rel_4f1c…")(unpin)
    app.command(epilog="Example: zepid artifacts deploy_01k… -o site.tar.gz")(artifacts)
    app.command(epilog="Example: zepid cleanup --older-than-days 7 --dry-run")(cleanup)


def releases(
    project: Project = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many.")] = 20,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List what was live, newest first, and what is kept of it."""
    from services.cli.releasing import list_releases
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: list_releases(client, project, limit=limit, as_json=as_json))


def rollback(
    release: Annotated[
        str | None, typer.Argument(metavar="[RELEASE]", help="The release. [default: the one before the live one]")
    ] = None,
    reason: Reason = "",
    project: Project = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Go back to a kept release, without a build; returns when it was seen live.

    Exit code: 0 live, 2 misused, 3 refused, or not seen live: then all is as it was before.
    """
    from services.cli.releasing import roll_back
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: roll_back(client, project, release, reason, as_json=as_json))


def lock(
    reason: Reason = "", project: Project = None, as_json: Json = False, url: Url = None, token: Token = None
) -> None:
    """Keep a site as it is: deployments and rollbacks are refused."""
    from services.cli.releasing import lock_project
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: lock_project(client, project, reason, as_json=as_json))


def unlock(project: Project = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Let a site change again."""
    from services.cli.releasing import unlock_project
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: unlock_project(client, project, as_json=as_json))


def pin(release: Release, project: Project = None, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Keep a release for ever."""
    from services.cli.releasing import pin_release
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: pin_release(client, project, release, pinned=True, as_json=as_json))


def unpin(
    release: Release, project: Project = None, as_json: Json = False, url: Url = None, token: Token = None
) -> None:
    """Let a release expire as any other."""
    from services.cli.releasing import pin_release
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: pin_release(client, project, release, pinned=False, as_json=as_json))


def artifacts(
    deployment: Annotated[str, typer.Argument(metavar="ID", help="The deployment, such as deploy_01k….")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Download everything to this archive.")
    ] = None,
    format: Annotated[
        Literal["tar.gz", "zip"] | None, typer.Option("--format", help="Of the archive. [default: by its name]")
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List what a deployment has built, or download it."""
    from services.cli.releasing import download_artifacts, list_artifacts
    from services.cli.session import run_with_client

    if output is None:
        run_with_client(url, token, lambda client: list_artifacts(client, deployment, as_json=as_json))
        return
    chosen = format or ("zip" if output.suffix == ".zip" else "tar.gz")
    run_with_client(url, token, lambda client: download_artifacts(client, deployment, output, chosen, as_json=as_json))


def cleanup(
    older_than_days: Annotated[
        int | None, typer.Option("--older-than-days", min=0, help="What ended earlier. [default: RETENTION_DAYS]")
    ] = None,
    keep_releases: Annotated[
        int | None, typer.Option("--keep-releases", min=1, help="Of each project. [default: RETENTION_RELEASES]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Remove old sources, outputs and logs, and files that nothing refers to; for operators."""
    from services.cli.releasing import clean_up
    from services.cli.session import run_with_client

    run_with_client(
        url, token, lambda client: clean_up(client, older_than_days, keep_releases, dry_run=dry_run, as_json=as_json)
    )
