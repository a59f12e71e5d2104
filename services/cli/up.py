"""Commands that run services: `up`, `run`, `migrate`, `projector`."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[Path, typer.Option("--data-dir", metavar="D", help="Where everything is kept.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: zepid up --deploy infra/demo/site")(up)
    app.command(epilog="Example: zepid run build")(run)
    app.command(epilog="Example: zepid migrate")(migrate)
    app.command(epilog='Example: eval "$(zepid addresses)" && nats stream ls')(addresses)
    projector = typer.Typer(help="The status projection.", no_args_is_help=True)
    projector.command(epilog="Example: zepid projector rebuild")(rebuild)
    app.add_typer(projector, name="projector")


def up(
    data_dir: DataDir = Path(".zepid"),
    port: Annotated[int | None, typer.Option("--port", metavar="P", help="Of the HTTP API. [default: 3008]")] = None,
    edge_port: Annotated[
        int | None, typer.Option("--edge-port", metavar="E", help="Of the sites. [default: 3080]")
    ] = None,
    deploy: Annotated[Path | None, typer.Option("--deploy", metavar="DIR", help="Deploy this folder, too.")] = None,
    processes: Annotated[bool, typer.Option("--processes", help="One process a service, supervised.")] = False,
) -> None:
    """Start everything on this machine: broker, database, object store and all services.

    Runs until Ctrl-C. NATS_URL, POSTGRES_URL and OBJECT_STORE_URL replace the embedded parts.
    """
    from services.cli.local_stack import Wanted, run_stack

    run_stack(Wanted(data_dir.resolve(), port, edge_port, deploy, processes))


def run(service: Annotated[str, typer.Argument(help="Its name; `zepid run list` prints all.")]) -> None:
    """Run one service alone, with the settings of the environment."""
    from services.cli.catalog import NAMES, load
    from shared.service import run_alone

    if service == "list":
        typer.echo("\n".join(NAMES))
    elif service not in NAMES:
        raise typer.BadParameter(f"there is no service {service!r}; there are {', '.join(NAMES)}")
    else:
        run_alone(service, load(service))


def migrate(
    first_key: Annotated[
        bool, typer.Option("--first-key", help="Make a key that may do everything, if there is none; print its token.")
    ] = False,
) -> None:
    """Bring the database at POSTGRES_URL to the schema of this version."""
    import asyncio

    from services.cli.first_key import make_first_key
    from shared.adapters.postgres.migrate import migrate as bring_up_to_date
    from shared.settings import load_settings

    postgres_url = load_settings().postgres_url
    asyncio.run(bring_up_to_date(postgres_url))
    typer.echo("The database has the schema of this version.", err=first_key)
    if first_key:
        asyncio.run(make_first_key(postgres_url))


def addresses(data_dir: DataDir = Path(".zepid")) -> None:
    """Print the addresses of what `zepid up` runs, for `nats`, `psql` and services started by hand.

    They hold passwords: use them with eval, do not paste them anywhere.
    """
    import shlex

    from services.cli.running import settings_of_running

    settings = settings_of_running(data_dir)
    for name in ("NATS_URL", "POSTGRES_URL", "OBJECT_STORE_URL"):
        typer.echo(f"export {name}={shlex.quote(settings.as_environ()[name])}")


def rebuild(data_dir: DataDir = Path(".zepid")) -> None:
    """Make the status rows again from the journal; readers see the old ones until it is done.

    Works on what `zepid up` runs in the data folder, or on NATS_URL and POSTGRES_URL.
    """
    import asyncio

    from services.cli.rebuild import rebuild_projection
    from services.cli.running import settings_of_running

    asyncio.run(rebuild_projection(settings_of_running(data_dir)))
