"""Handlers that do nothing but what the pipeline itself needs: for benchmarks and tests of the pipeline."""

from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.execution import Handle
from shared.pipeline import STEPS
from shared.ports import Ports


async def succeed(command: Command, ports: Ports) -> Outcome:
    """Pass on what the earlier steps established."""
    return Done(command.work)


async def free(command: Command, ports: Ports) -> Outcome:
    """Give back the claim and the slot: there is no sandbox."""
    await ports.records.free(command.deployment_id)
    return Done(command.work)


def noop_handlers() -> dict[str, Handle]:
    """Return a handler for every step of the pipeline table."""
    return {step.name: free if step.cleans_up else succeed for step in STEPS}
