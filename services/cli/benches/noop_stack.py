"""The services with steps that do nothing, as a process of its own (for `zepid bench`).

`python -m services.cli.benches.noop_stack NAME…` leaves the named services out.
"""

import asyncio
import sys
from dataclasses import replace

from services.cli.catalog import load
from services.steps.loader import open_ports
from services.steps.noop import noop_handlers
from shared.pipeline import STEPS
from shared.resources import Resources
from shared.service import Service, run_alone, run_together
from shared.worker import Worker

STEP_CONCURRENCY = 100
"""Commands a worker takes at a time; the table's numbers suit steps that work."""
_OTHERS = ("intake", "projector", "log-archiver", "dead-letter", "reconciler", "webhooks", "gateway")


class NoopStack:
    """Everything `zepid up` runs but the edge, which no-op deployments do not reach."""

    def __init__(self, resources: Resources) -> None:
        ports, handlers = open_ports(resources), noop_handlers()
        self._services: dict[str, Service] = {
            name: load(name)(resources) for name in _OTHERS if name not in sys.argv[1:]
        } | {
            step.name: Worker(
                replace(step, concurrency=STEP_CONCURRENCY),
                handlers[step.name],
                ports,
                resources.bus,
                resources.deployments,
            )
            for step in STEPS
        }

    async def run(self, stopping: asyncio.Event) -> None:
        """Run all until `stopping` is set."""
        await run_together(self._services, stopping)


if __name__ == "__main__":
    run_alone("bench", NoopStack)
