"""Removes what is of no more use; unlike a repair it has nothing to report."""

from shared.resources import Resources


async def forget_keys(resources: Resources) -> list[str]:
    """Remove idempotency keys that are no longer believed."""
    await resources.deployments.forget_keys()
    return []
