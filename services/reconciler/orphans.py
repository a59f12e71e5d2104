"""Removes sandboxes that no deployment needs any more, such as one made after its deployment was cleaned up."""

from shared.adapters.sandboxes import open_sandboxes
from shared.contracts.errors import ZepidError
from shared.ports import Sandboxes
from shared.resources import Resources
from shared.telemetry import log

LEFTOVER_SECONDS = 300.0
"""Half-made things that are younger may belong to a living process."""


async def remove_orphans(resources: Resources) -> list[str]:
    """End and remove this host's sandboxes whose deployment is over or unknown, and leftovers; return their names."""
    sandboxes = open_sandboxes(resources.settings)
    names = await sandboxes.names()
    orphans = await resources.deployments.freed_among(names) if names else []
    removed = [name for name in orphans if await _is_removed(sandboxes, name)]
    try:
        return removed + await sandboxes.tidy(LEFTOVER_SECONDS)
    except (ZepidError, OSError) as error:
        log.warning("leftovers not removed; the next tick tries again", error=str(error))
        return removed


async def _is_removed(sandboxes: Sandboxes, name: str) -> bool:
    try:
        await sandboxes.destroy(name)
    except (ZepidError, OSError) as error:
        log.warning("orphaned sandbox not removed; the next tick tries again", sandbox=name, error=str(error))
        return False
    return True
