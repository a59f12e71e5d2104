"""The edge: serves the release that a site's pointer names."""

from services.edge.app import Edge
from shared.http_service import HttpService
from shared.resources import Resources
from shared.service import Service


def create(resources: Resources) -> Service:
    """Return the edge as a service on `EDGE_PORT`."""
    settings = resources.settings
    edge = Edge(resources.pool, resources.artifacts, settings, resources.seal)
    return HttpService("edge", edge, settings.host, settings.edge_port)


__all__ = ["Edge", "create"]
