"""The chaos benchmark, short: every kind of fault against real processes, then its own audit."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

SEED = 11
LONGEST_SECONDS = 280


@pytest.mark.timeout(LONGEST_SECONDS + 20)
async def test_nothing_is_lost_doubled_or_left_behind_when_everything_breaks(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.cli", "bench", "chaos", "-n", "30", "--seed", str(SEED), "--json"),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, said = await asyncio.wait_for(process.communicate(), LONGEST_SECONDS)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert output, said.decode()
    report = json.loads(output)
    assert report["violations"] == [], said.decode()
    assert process.returncode == 0
    assert report["deployments"] >= report["ordered"] == 30
    assert {"kill", "nats", "postgres", "queue", "connections", "pause"} <= set(report["faults"])
    assert not any(tmp_path.iterdir()), "the data folder was left behind"  # noqa: ASYNC240 - nothing else runs
