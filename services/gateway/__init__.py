"""The HTTP side: records what is asked for, wakes intake, and shows what happened."""

from services.gateway.app import GatewayPorts, create_app
from shared.http_service import HttpService
from shared.resources import Resources
from shared.service import Service


def create(resources: Resources) -> Service:
    """Return the gateway as a service on `PORT`."""
    settings = resources.settings
    app = create_app(GatewayPorts.of(resources, settings.origins))
    return HttpService("gateway", app, settings.host, settings.port, before_stop=app.state.gateway.stop)
