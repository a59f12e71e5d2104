"""schemathesis against a running gateway: every operation of its OpenAPI document, all checks."""

import asyncio
import re
import sys
from pathlib import Path

import msgspec

NOT_TRIED = (
    "/deploy/{deployment_id}/events",
    "/deploy/{deployment_id}/logs/stream",
    "/docs",
)
"""Event streams do not end by themselves; the page is HTML."""


class Tried(msgspec.Struct, frozen=True):
    """One run: how many cases it made, and what it printed."""

    exit_code: int
    cases: int
    report: str


async def fuzz(url: str, token: str | None, examples: int, folder: Path, *, known: dict[str, str], seed: int) -> Tried:
    """Try up to `examples` cases of each operation; `known` are parameters that name something real."""
    settings = folder / "schemathesis.toml"
    lines = ["[parameters]", *(f'"{name}" = "{value}"' for name, value in known.items())]
    settings.write_text("\n".join(lines))
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings)),
        *("run", f"{url}/openapi.json", "--url", url, "--checks", "all"),
        *("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure", "--no-color"),
        *("--generation-database", "none", "--suppress-health-check", "all", "--request-timeout", "20"),
        *(option for path in NOT_TRIED for option in ("--exclude-path", path)),
        *(("--header", f"Authorization: Bearer {token}") if token else ()),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder
    )
    output, _ = await process.communicate()
    report = output.decode()
    cases = re.search(r"(\d+) generated", report)
    assert process.returncode is not None
    return Tried(process.returncode, int(cases[1]) if cases else 0, report)
