"""Cleanup: the sandbox is dead and its files are gone, claim and slot are given back, the site is as it should be."""

from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.ports import Ports


async def handle(command: Command, ports: Ports) -> Outcome:
    """Runs after every outcome, also when no sandbox was ever made; repeating it changes nothing."""
    await ports.sandboxes.destroy(command.deployment_id)
    await ports.records.free(command.deployment_id)
    await _take_back(command, ports)
    return Done(command.work)


async def _take_back(command: Command, ports: Ports) -> None:
    """Let the place that serves the site follow its pointer, which went back if the release was not seen live."""
    publisher = ports.publishers.get(command.work.target)
    if publisher is None or command.work.release:
        return
    deployment = await ports.records.deployment(command.deployment_id)
    if deployment is not None:
        await publisher.publish(deployment.site, "")
