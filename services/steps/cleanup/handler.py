"""Cleanup: the sandbox is dead and its files are gone, then claim and slot are given back."""

from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.ports import Ports


async def handle(command: Command, ports: Ports) -> Outcome:
    """Runs after every outcome, also when no sandbox was ever made; repeating it changes nothing."""
    await ports.sandboxes.destroy(command.deployment_id)
    await ports.records.free(command.deployment_id)
    return Done(command.work)
