"""`zepid bench`: what the service costs, measured against doing the same by hand in the same run."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    bench = typer.Typer(
        help="Measure the service against doing the same by hand, in the same run.", no_args_is_help=True
    )
    bench.command(epilog="Example: zepid bench pipeline -n 2000 -c 50")(pipeline)
    bench.command(epilog="Example: zepid bench build infra/demo/site")(build)
    app.add_typer(bench, name="bench")


def pipeline(
    count: Annotated[int, typer.Option("-n", min=50, help="Deployments.")] = 2000,
    concurrency: Annotated[int, typer.Option("-c", min=1, help="At a time.")] = 50,
    as_json: Json = False,
) -> None:
    """No-op deployments through HTTP, broker and database, against the bare chain of messages.

    Everything is real but the work of the steps: synchronous stream writes, committed rows. The
    floor runs on the same broker, in turns with the load.
    """
    from services.cli.benches.pipeline import bench_pipeline

    bench_pipeline(count, concurrency, as_json=as_json)


def build(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A project with a lock file.")],
    rounds: Annotated[int, typer.Option("-n", min=1, help="How often each is measured.")] = 3,
    as_json: Json = False,
) -> None:
    """A deployment of a folder against bare install and build of the same folder.

    Cold: no installed dependencies are kept (the package cache is warm for both). Warm: the lock
    file is unchanged, a source file changed. Unchanged: the same source again.
    """
    from services.cli.benches.build import bench_build

    bench_build(folder, rounds, as_json=as_json)
