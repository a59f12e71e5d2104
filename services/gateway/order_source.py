"""What an order says of its source, made into what acceptance records."""

from services.gateway.orders import DeployOrder, GitSource, SnapshotSource
from services.gateway.platform_source import tree_of_request
from services.gateway.ports import GatewayPorts
from shared.git.address import checked_ref, checked_url
from shared.networks import networks_of
from shared.source_origin import SourceOrigin, SourceTree


async def tree_of_order(ports: GatewayPorts, order: DeployOrder) -> SourceTree | None:
    """Return the tree that an order brings or wants fetched; None when it is the project's, or a snapshot.

    Raises:
        ZepidError: SOURCE_GIT_REFUSED or SOURCE_GIT_REF_MISSING; SOURCE_INVALID, naming the file.
    """
    match order.source:
        case GitSource(url, ref):
            checked_url(url, networks_of(ports.settings.git_allowed_networks))
            return SourceTree(origin=SourceOrigin(type="git", url=url, ref=checked_ref(ref)))
        case SnapshotSource():
            return None
    if not order.brings_files:
        return None
    history = order.history_messages if order.history_messages is not None else []
    return await tree_of_request(ports, order.project_id, order.org_id, order.init_files, history)
