"""Every service there is, by the name that `zepid run` and `zepid up` know."""

import importlib
import sys

from shared.pipeline import BY_NAME
from shared.service import Create

STEPS = tuple(BY_NAME)
OTHERS = {
    "intake": "services.intake",
    "projector": "services.projector",
    "log-archiver": "services.log_archiver",
    "dead-letter": "services.dead_letter",
    "reconciler": "services.reconciler",
    "webhooks": "services.webhooks",
    "domains": "services.domains",
    "edge": "services.edge",
    "gateway": "services.gateway",
}
NAMES: tuple[str, ...] = (*STEPS, *OTHERS)


def load(name: str) -> Create:
    """Return what makes the service; it is imported only now."""
    if name in STEPS:
        loader = importlib.import_module("services.steps.loader")
        create: Create = loader.create(name)
    else:
        create = importlib.import_module(OTHERS[name]).create
    return create


def command_line(name: str) -> list[str]:
    """Return the command that runs the service as a process of its own."""
    module = ["services.steps", name] if name in STEPS else [OTHERS[name]]
    return [sys.executable, "-m", *module]
