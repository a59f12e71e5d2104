"""Makes streams and consumers again that were deleted; what was in them the other repairs publish again."""

from shared.adapters.jetstream.provision import missing, provision
from shared.resources import Resources


async def restore_streams(resources: Resources) -> list[str]:
    """Create what is missing on the broker; return the names."""
    client, settings = resources.bus.client, resources.settings
    names = await missing(client, settings)
    if names:
        await provision(client, settings)
    return names
