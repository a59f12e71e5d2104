"""`zepid bench edge`: serving sites, against a bare app under the same server and against nginx."""

import statistics
import tempfile
from pathlib import Path

import msgspec
import typer
import uvloop

from services.cli.benches.edge_servers import LARGE, LARGE_BYTES, SMALL, SMALL_BYTES, World, running
from services.cli.benches.fetching import Fetcher
from services.cli.benches.floor import Sample, together
from services.cli.errors import FAILED

LEAST_SMALL = 0.6
"""Of the bare app's requests a second."""
LEAST_LARGE = 0.6
"""Of nginx's bytes a second."""
MOST_MEMORY_MB = 256.0
"""What all sites together may add to the edge's memory."""
ROUNDS = 5
_LARGE_FETCHES = 8


class Figures(msgspec.Struct, frozen=True, rename="camel"):
    """What was measured; rates of small files in requests, of large ones in bytes, a second. None: no nginx here."""

    small: dict[str, float]
    bare: dict[str, float]
    small_ratio: float
    large_per_second: float
    sites: int
    memory_mb: float
    memory_again_mb: float
    nginx_small: dict[str, float] | None = None
    nginx_large_per_second: float | None = None
    large_ratio: float | None = None

    @property
    def hold(self) -> bool:
        """Whether the edge is fast and small enough; without nginx the large files are not judged."""
        large = self.large_ratio is None or self.large_ratio >= LEAST_LARGE
        return self.small_ratio >= LEAST_SMALL and large and self.memory_again_mb <= MOST_MEMORY_MB


def bench_edge(count: int, concurrency: int, sites: int, *, as_json: bool) -> None:
    """Measure and print; see `zepid bench edge --help`."""
    figures = uvloop.run(_bench(count, concurrency, sites, as_json=as_json))
    typer.echo(msgspec.json.encode(figures) if as_json else _text(figures, concurrency))
    if not figures.hold:
        raise typer.Exit(FAILED)


def _text(figures: Figures, concurrency: int) -> str:
    lines = [
        f"small files, {concurrency} at once, of {SMALL_BYTES} bytes; large of {LARGE_BYTES >> 20} MiB",
        f"edge        {figures.small['perSecond']:9.1f}/s   {figures.large_per_second / 1e6:8.1f} MB/s",
        f"bare app    {figures.bare['perSecond']:9.1f}/s",
        f"ratio       {figures.small_ratio:9.2f} of the bare app (at least {LEAST_SMALL:g})",
    ]
    if figures.nginx_small and figures.nginx_large_per_second:
        large = figures.nginx_large_per_second / 1e6
        lines[3:3] = [f"nginx       {figures.nginx_small['perSecond']:9.1f}/s   {large:8.1f} MB/s"]
        lines.append(f"large ratio {figures.large_ratio:9.2f} of nginx (at least {LEAST_LARGE:g})")
    else:
        lines.append("nginx is not installed here, so large files have nothing to be compared with (apt install nginx)")
    grown, again = figures.memory_mb, figures.memory_again_mb
    lines.append(
        f"memory      {figures.sites} sites: +{grown:.0f} MB, asked again +{again:.0f} MB (at most {MOST_MEMORY_MB:g})"
    )
    return "\n".join(lines)


async def _bench(count: int, concurrency: int, sites: int, *, as_json: bool) -> Figures:
    """All take turns, so that a noisy machine disturbs them alike."""
    with tempfile.TemporaryDirectory(prefix="zepid-bench-") as folder:
        async with running(Path(folder)) as world:
            typer.echo(f"{ROUNDS} turns of {count // ROUNDS} small files each …", err=as_json)
            small = await _small(world.servers, count // ROUNDS, concurrency)
            typer.echo(f"{ROUNDS} turns of large files …", err=as_json)
            large = await _large(world.servers)
            typer.echo(f"Making {sites} sites …", err=as_json)
            grown, again = await _memory(world, sites)
    by_nginx = large.get("nginx")
    return Figures(
        small=together(small["edge"]).figures(),
        bare=together(small["bare"]).figures(),
        small_ratio=_ratio([one.rate for one in small["edge"]], [one.rate for one in small["bare"]]),
        large_per_second=round(statistics.median(large["edge"])),
        sites=sites,
        memory_mb=round(grown, 1),
        memory_again_mb=round(again, 1),
        nginx_small=together(small["nginx"]).figures() if by_nginx else None,
        nginx_large_per_second=round(statistics.median(by_nginx)) if by_nginx else None,
        large_ratio=_ratio(large["edge"], by_nginx) if by_nginx else None,
    )


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(ours, theirs, strict=True)), 3)


async def _small(servers: dict[str, Fetcher], count: int, concurrency: int) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {name: [] for name in servers}
    for fetcher in servers.values():
        await fetcher.small(SMALL, concurrency * 4, concurrency)
    for _ in range(ROUNDS):
        for name, taken in samples.items():
            taken.append(await servers[name].small(SMALL, count, concurrency))
    return samples


async def _large(servers: dict[str, Fetcher]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in servers if name != "bare"}
    for name in rates:
        await servers[name].large(LARGE, 1)
    for _ in range(ROUNDS):
        for name, taken in rates.items():
            taken.append(await servers[name].large(LARGE, _LARGE_FETCHES))
    return rates


async def _memory(world: World, sites: int) -> tuple[float, float]:
    """Ask for every site once, then once more; return the megabytes that the edge has grown by each time."""
    hosts = await world.add_sites(sites)
    before, after = world.edge_megabytes(), []
    for _ in range(2):
        await world.servers["edge"].once(hosts, "/")
        after.append(world.edge_megabytes() - before)
    return after[0], after[1]
