"""What the gateway works with, and the request type through which handlers reach it."""

from dataclasses import dataclass
from typing import cast

from litestar import Request
from litestar.datastructures import State

from services.gateway.auth import Caller
from services.gateway.background import Background
from services.gateway.feed import Feed
from services.gateway.health import Health
from services.gateway.queue_estimate import QueueEstimate
from services.gateway.shown_log import shown_chunk
from services.gateway.stories import Stories
from shared.adapters.jetstream.bus import Bus, decode_event
from shared.adapters.postgres.deployments import Deployments
from shared.adapters.postgres.overview import Overview
from shared.adapters.postgres.projects import Projects
from shared.adapters.postgres.tokens import Tokens
from shared.adapters.postgres.variables import Variables
from shared.contracts import subjects
from shared.contracts.events import Event
from shared.ports import Objects
from shared.resources import Resources
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class GatewayPorts:
    """Everything outside the gateway that it uses.

    Attributes:
        artifacts: bucket of sources and built outputs.
        logs: bucket of archived logs.
        allowed_origins: browser origins that may call the API, besides localhost in development.
    """

    deployments: Deployments
    projects: Projects
    variables: Variables
    tokens: Tokens
    overview: Overview
    bus: Bus
    artifacts: Objects
    logs: Objects
    settings: Settings
    allowed_origins: tuple[str, ...] = ()

    @classmethod
    def of(cls, resources: Resources, allowed_origins: tuple[str, ...] = ()) -> "GatewayPorts":
        """Take from a process's resources what the gateway needs."""
        return cls(
            deployments=resources.deployments,
            projects=Projects(resources.pool),
            variables=Variables(resources.pool, resources.seal),
            tokens=Tokens(resources.pool),
            overview=Overview(resources.pool),
            bus=resources.bus,
            artifacts=resources.artifacts,
            logs=resources.logs,
            settings=resources.settings,
            allowed_origins=allowed_origins,
        )


class Gateway:
    """One running gateway: its ports and what it keeps between requests."""

    def __init__(self, ports: GatewayPorts) -> None:
        self.ports = ports
        self.events: Feed[Event] = Feed(
            ports.bus, subjects.EVENT_STREAM, subjects.ALL_EVENTS, subjects.events_of, lambda it: decode_event(it.data)
        )
        self.logs = Feed(ports.bus, subjects.LOG_STREAM, subjects.ALL_LOGS, subjects.logs_of, shown_chunk)
        self.stories = Stories(self.events, ports.deployments)
        self.background = Background()
        self.health = Health(ports.overview, ports.bus, ports.artifacts)
        self.queue_estimate = QueueEstimate(ports.overview, ports.settings)

    async def start(self) -> None:
        """Be ready to feed event streams."""
        self.events.start()
        self.logs.start()

    async def stop(self) -> None:
        """End every event stream, then finish what was begun in the background."""
        await self.events.stop()
        await self.logs.stop()
        await self.background.drain()


class GatewayRequest(Request[None, Caller, State]):
    """A request that knows the gateway and, behind the gate, who calls."""

    @property
    def gateway(self) -> Gateway:
        """The gateway that answers."""
        return cast(Gateway, self.app.state.gateway)

    @property
    def ports(self) -> GatewayPorts:
        """The gateway's ports."""
        return self.gateway.ports

    @property
    def caller(self) -> Caller:
        """Who calls; only on routes that are not public."""
        return cast(Caller, self.scope["auth"])
