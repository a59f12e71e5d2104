"""Removes sandboxes that no deployment needs any more, such as one made after its deployment was cleaned up."""

from shared.adapters.sandboxes import open_sandboxes
from shared.resources import Resources


async def remove_orphans(resources: Resources) -> list[str]:
    """Kill and remove this host's sandboxes whose deployment is over or unknown; return their names."""
    sandboxes = open_sandboxes(resources.settings)
    names = await sandboxes.names()
    orphans = await resources.deployments.freed_among(names) if names else []
    for name in orphans:
        await sandboxes.destroy(name)
    return orphans
