"""A new step is one folder and one line: shown on a copy of the code, with the real pipeline."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import services

ROOT = Path(services.__file__).parent.parent
HANDLER = '''
"""Looks at the built files."""

from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.ports import Ports


async def handle(command: Command, ports: Ports) -> Outcome:
    """Find nothing."""
    return Done(command.work, detail="nothing found")
'''
LINE = '    Step("scan", "scanning", 80, timeout=30, concurrency=5),\n'
SCRIPT = """
import asyncio, sys
from pathlib import Path
from services.steps.loader import load_handlers
from tests.pipeline import pipeline, settings_for

async def main(nats_url, database_url, folder):
    async with pipeline(settings_for(nats_url, database_url, Path(folder))) as running:
        running.handlers["scan"] = load_handlers()["scan"]
        running.start()
        progress = await running.finished(await running.request())
        print("RESULT", progress.outcome, progress.step("scan").status, progress.step("scan").detail)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_seventh_step_is_one_folder_and_one_line(nats_server: str, database_url: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in ("services", "shared", "infra", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules", "data", "demo")
        await asyncio.to_thread(shutil.copytree, ROOT / name, copy / name, ignore=ignored)
    folder = copy / "services/steps/scan"
    folder.mkdir()
    (folder / "handler.py").write_text(HANDLER)
    table = copy / "shared/pipeline.py"
    before = table.read_text()
    table.write_text(before.replace('    Step("deploy"', LINE + '    Step("deploy"'))
    assert table.read_text() != before

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        nats_server,
        database_url,
        str(tmp_path / "data"),
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert "RESULT completed completed nothing found" in output.decode(), output.decode()
