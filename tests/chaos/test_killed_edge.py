"""An edge that is killed takes its Workers with it, and the next one serves as before."""

import os
import signal
from pathlib import Path

from services.cli.running import settings_of_running
from tests.e2e import apps
from tests.live import LiveStack, live_stack
from tests.waiting import until


def worker_processes(stack: LiveStack) -> list[str]:
    """The processes that live in a Worker's folder of this stack."""
    mine = f"{stack.data_dir.name}/workers/"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mine in (process / "mountinfo").read_text():
                found.append(process.name)
        except OSError:
            continue
    return found


async def test_no_worker_outlives_its_edge(tmp_path: Path) -> None:
    async with live_stack(tmp_path / "killed-edge", "--processes") as stack:
        deployed = await stack.deploy(apps.write(apps.worker_alone(), tmp_path / "app"))
        url = deployed.result["workerUrl"]
        assert (await stack.get(url)).status_code == 200
        assert worker_processes(stack)
        left = list((settings_of_running(stack.data_dir).data_path / "workers").glob("*/rel_*"))
        assert left

        async def nothing_runs() -> bool:
            return not worker_processes(stack)

        async def serves() -> bool:
            return (await stack.get(url)).status_code == 200

        os.kill(stack.pid_of("edge"), signal.SIGKILL)
        await until(nothing_runs, 10)
        await until(serves, 20)
        assert not any(folder.exists() for folder in left)
