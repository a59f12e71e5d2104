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
    bench.command(epilog="Example: zepid bench api -n 5000 -c 64")(api)
    bench.command(epilog="Example: zepid bench build infra/demo/site")(build)
    bench.command(epilog="Example: zepid bench chaos -n 200 --seed 7")(chaos)
    bench.command(epilog="Example: zepid bench watch -n 1000 --deployments 20")(watch)
    bench.command(epilog="Example: zepid bench edge -n 20000 --sites 10000")(edge)
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


def api(
    count: Annotated[int, typer.Option("-n", min=50, help="Requests to each side.")] = 5000,
    concurrency: Annotated[int, typer.Option("-c", min=1, help="At a time.")] = 64,
    as_json: Json = False,
) -> None:
    """Accepting deployments (`POST /deploy`), against decoding the same body and one durable INSERT.

    Both run under the same server, framework and database, in turns; then each is asked 100 times a
    second for the waiting times. No limit is raised.
    """
    from services.cli.benches.api import bench_api

    bench_api(count, concurrency, as_json=as_json)


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


def chaos(
    count: Annotated[int, typer.Option("-n", min=1, help="Deployments: no-op builds, and one real build in 40.")] = 200,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Decides what strikes when. [default: a random one]")
    ] = None,
    faults: Annotated[
        str, typer.Option("--faults", metavar="LIST", help="Some of kill,nats,postgres,queue,connections,pause,disk.")
    ] = "",
    as_json: Json = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data folder even when all is well.")] = False,
) -> None:
    """Deploy while processes are killed and stopped, servers restarted, the queue deleted, the disk full; then audit.

    Starts everything in a folder of its own, every service a process, and touches no other process.
    Afterwards it checks that nothing was lost, doubled or left behind, that everything ended within
    60 s of the last fault, and that each failure has a fault behind it. Exits with 1 otherwise, and
    keeps the data folder then. Filling the disk needs root; elsewhere that fault is left out.
    """
    from services.cli.benches.chaos.chaos import Wanted, any_seed, bench_chaos
    from services.cli.benches.chaos.faults import FAULTS

    names = tuple(name.strip() for name in faults.split(",") if name.strip())
    if unknown := [name for name in names if name not in FAULTS]:
        raise typer.BadParameter(f"there is no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    bench_chaos(Wanted(count, any_seed() if seed is None else seed, names, as_json, keep))


def watch(
    watchers: Annotated[int, typer.Option("-n", min=1, help="Open event streams.")] = 1000,
    deployments: Annotated[int, typer.Option("--deployments", min=1, help="No-op deployments they watch.")] = 20,
    as_json: Json = False,
) -> None:
    """Many event streams on one gateway while deployments run, five at a time.

    Every stream must show every change, in order. Measured: from the journal's time of an event until
    its bytes are at the watcher's socket, and what a watcher costs the gateway in memory. Watchers and
    services share this machine. Exits with 1 if anything was lost, or late (p99 over 150 ms), or large
    (over 60 KB a watcher).
    """
    from services.cli.benches.watch import bench_watch

    bench_watch(watchers, deployments, as_json=as_json)


def edge(
    count: Annotated[int, typer.Option("-n", min=50, help="Small files from each server.")] = 20_000,
    concurrency: Annotated[int, typer.Option("-c", min=1, help="At a time.")] = 32,
    sites: Annotated[int, typer.Option("--sites", min=1, help="Sites that are asked for to see the memory.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Serving sites: small files against a bare app that sends the same bytes, large ones against nginx; memory.

    The bare app runs under the edge's server; all have one process each, and take turns. Exits non-zero when the
    edge is slower than 0.6 of either, or grows by more than 256 MB.
    """
    from services.cli.benches.edge import bench_edge

    bench_edge(count, concurrency, sites, as_json=as_json)
