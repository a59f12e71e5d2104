"""The sandbox step: an isolated place for the deployment's untrusted code."""

import msgspec

from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome
from shared.ports import Ports


async def handle(command: Command, ports: Ports) -> Outcome:
    """Make the sandbox, named by its deployment; fine if an earlier attempt has made it.

    Raises:
        ZepidError: SANDBOX_CREATE_FAILED.
    """
    name = command.deployment_id
    await ports.sandboxes.create(name, command.organization_id)
    return Done(msgspec.structs.replace(command.work, sandbox=name), "sandbox ready")
