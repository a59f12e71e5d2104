"""Finds each step's handler by its folder and puts a worker around it."""

from importlib import import_module

from shared.adapters.sandboxes import open_sandboxes
from shared.execution import Handle
from shared.failure_log import FailureLog
from shared.pipeline import BY_NAME, STEPS
from shared.ports import Fence, Ports
from shared.resources import Resources
from shared.service import Create, Service
from shared.worker import Worker


def load_handlers() -> dict[str, Handle]:
    """Return the handler of every step of the pipeline table.

    Raises:
        ModuleNotFoundError: a step of the table has no folder.
    """
    return {step.name: import_module(f"services.steps.{step.name}.handler").handle for step in STEPS}


def create(step: str) -> Create:
    """Return what makes the worker of a step."""

    def create_worker(resources: Resources) -> Service:
        handler = import_module(f"services.steps.{step}.handler").handle
        return Worker(
            BY_NAME[step],
            handler,
            open_ports(resources),
            resources.bus,
            resources.deployments,
            FailureLog(resources.logs),
        )

    return create_worker


def open_ports(resources: Resources) -> Ports:
    """Make the ports that a worker completes for each attempt with its log, fence and number."""
    return Ports(
        records=resources.deployments,
        objects=resources.artifacts,
        sandboxes=open_sandboxes(resources.settings),
        publishers=resources.publishers(),
        log=Unbound(),
        settings=resources.settings,
        fence=Fence(0, 0, 0, 0),
        attempt=0,
    )


class Unbound:
    """Stands where an attempt's log will be; writing to it is a defect."""

    def write(self, stream: str, message: str, level: str = "info") -> None:
        """Refuse: no attempt is running."""
        raise RuntimeError("a step log exists only during an attempt")
