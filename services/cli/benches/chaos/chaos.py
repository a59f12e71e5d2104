"""`zepid bench chaos`: a load, a storm of faults, then the audit."""

import random
import shutil
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import typer
import uvloop

from services.cli.benches.chaos.api import Api
from services.cli.benches.chaos.disk import small_disk
from services.cli.benches.chaos.faults import FAULTS, Storm
from services.cli.benches.chaos.load import Load
from services.cli.benches.chaos.orders import plan
from services.cli.benches.chaos.report import Report, as_text, make_report
from services.cli.benches.chaos.run import Run
from services.cli.benches.chaos.stack import running_stack
from services.cli.benches.chaos.watch import Watch
from shared.telemetry import configure_logs


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; no faults means all."""

    count: int
    seed: int
    faults: tuple[str, ...]
    as_json: bool
    keep: bool


def bench_chaos(wanted: Wanted) -> None:
    """Run and print; see `zepid bench chaos --help`. Exits with 1 when anything is not as it must be."""
    folder = Path(tempfile.mkdtemp(prefix="zepid-chaos-"))
    (folder / "logs").mkdir()
    clean = False
    try:
        with (folder / "logs" / "bench.log").open("w") as output:
            configure_logs("info", output)
            report = uvloop.run(_bench(wanted, folder))
        clean = not report.violations
        typer.echo(msgspec.json.encode(report).decode() if wanted.as_json else as_text(report))
    finally:
        if clean and not wanted.keep:
            shutil.rmtree(folder)
        else:
            typer.echo(f"Data and logs are kept in {folder}", err=True)
    if not clean:
        raise typer.Exit(1)


async def _bench(wanted: Wanted, folder: Path) -> Report:
    """Start everything, break it, look at what is left."""
    began = time.monotonic()
    faults = {name: FAULTS[name] for name in wanted.faults or FAULTS}
    left_out: dict[str, str] = {}
    async with AsyncExitStack() as exits:
        if "disk" in faults and (why := await exits.enter_async_context(small_disk(folder / "objects"))):
            left_out["disk"] = why
            del faults["disk"]
        typer.echo(f"Seed {wanted.seed}; {wanted.count} deployments; faults: {', '.join(faults)}", err=True)
        stack = await exits.enter_async_context(running_stack(folder))
        api = await exits.enter_async_context(Api(stack.url, stack.token))
        load = Load(api, plan(wanted.count, wanted.seed))
        storm = Storm(stack, list(faults.values()), wanted.seed)
        run = Run(stack, load, storm, Watch(stack.settings.postgres_url))
        facts = await run.play()
        return make_report(
            load=load,
            facts=facts,
            struck=storm.struck,
            left_out=left_out,
            over_after=run.over_after(),
            tidied=len(run.tidied),
            violations=await run.audit(facts),
            seed=wanted.seed,
            seconds=time.monotonic() - began,
        )


def any_seed() -> int:
    """Return a seed for a run that was given none."""
    return random.SystemRandom().randrange(1_000_000)
