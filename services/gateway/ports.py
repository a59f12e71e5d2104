"""What the gateway works with, and the request type through which handlers reach it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from litestar import Request
from litestar.datastructures import State

from services.gateway.access.caller import Caller
from services.gateway.access.ledger import Ledger
from services.gateway.audit import note_given
from services.gateway.auth import Gate
from services.gateway.background import Background
from services.gateway.disk import Disk
from services.gateway.feed import Feed
from services.gateway.health import Health
from services.gateway.instances import Instances
from services.gateway.origins import cors_of
from services.gateway.overview import Glances
from services.gateway.queue_estimate import QueueEstimate
from services.gateway.shown_log import shown_chunk
from services.gateway.stories import Stories
from services.gateway.templates import Templates
from services.gateway.waking import Waker
from shared.adapters.jetstream.bus import Bus, decode_event
from shared.adapters.postgres.audit import Audit
from shared.adapters.postgres.deployments import Deployments
from shared.adapters.postgres.domains import Domains
from shared.adapters.postgres.overview import Overview
from shared.adapters.postgres.projects import Projects
from shared.adapters.postgres.quota import Quota
from shared.adapters.postgres.releases import Releases
from shared.adapters.postgres.tokens import Tokens
from shared.adapters.postgres.variables import Variables
from shared.adapters.postgres.webhooks import Webhooks
from shared.collection import Collector
from shared.contracts import subjects
from shared.contracts.events import Event
from shared.domains.checks import Checks
from shared.ports import Objects, Publisher
from shared.resources import Resources
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class GatewayPorts:
    """Everything outside the gateway that it uses.

    Attributes:
        artifacts: bucket of sources and built outputs.
        logs: bucket of archived logs.
        publishers: by target.
        allowed_origins: browser origins that may call the API, besides localhost in development.
    """

    deployments: Deployments
    projects: Projects
    variables: Variables
    releases: Releases
    domains: Domains
    tokens: Tokens
    audit: Audit
    overview: Overview
    webhooks: Webhooks
    quota: Quota
    bus: Bus
    artifacts: Objects
    logs: Objects
    collector: Collector
    publishers: Mapping[str, Publisher]
    settings: Settings
    templates: Templates
    allowed_origins: tuple[str, ...] = ()

    @classmethod
    def of(cls, resources: Resources, allowed_origins: tuple[str, ...] = ()) -> "GatewayPorts":
        """Take from a process's resources what the gateway needs."""
        return cls(
            deployments=resources.deployments,
            projects=Projects(resources.pool),
            variables=Variables(resources.pool, resources.seal),
            releases=Releases(resources.pool),
            domains=Domains(resources.pool),
            tokens=Tokens(resources.pool),
            audit=Audit(resources.pool),
            overview=Overview(resources.pool),
            webhooks=Webhooks(resources.pool, resources.seal),
            quota=Quota(resources.pool),
            bus=resources.bus,
            artifacts=resources.artifacts,
            logs=resources.logs,
            collector=Collector(resources.pool, resources.artifacts, resources.logs),
            publishers=resources.publishers(),
            settings=resources.settings,
            templates=Templates(resources.settings.templates_dir),
            allowed_origins=allowed_origins,
        )


class Gateway:
    """One running gateway: its ports and what it keeps between requests."""

    def __init__(self, ports: GatewayPorts) -> None:
        self.ports = ports
        self.events: Feed[Event] = Feed(
            ports.bus,
            subjects.EVENT_STREAM,
            subjects.ALL_EVENTS,
            subjects.events_of,
            lambda stored: decode_event(stored.data),
            hands_over=True,
        )
        self.logs = Feed(ports.bus, subjects.LOG_STREAM, subjects.ALL_LOGS, subjects.logs_of, shown_chunk)
        self.stories = Stories(self.events, ports.deployments)
        self.background = Background()
        self.ledger = Ledger(ports.audit, ports.tokens)
        self.cors = cors_of(ports.settings, ports.allowed_origins)
        self.gate = Gate(ports.tokens, self.ledger, ports.settings, self.cors.is_origin_allowed)
        self.waker = Waker(ports.bus, self.background)
        self.disk = Disk(ports.settings)
        self.health = Health(ports.overview, ports.bus, ports.artifacts)
        self.instances = Instances()
        self.glances = Glances(ports.overview)
        self.domain_checks = Checks(ports.settings)
        self.queue_estimate = QueueEstimate(ports.overview, ports.settings)

    async def start(self) -> None:
        """Be ready to feed event streams and to write down who does what."""
        self.events.start()
        self.logs.start()
        self.ledger.start()
        await self.instances.listen(self.ports.bus)
        await self.ports.bus.on_key_changes(self.gate.forget_keys)

    async def stop(self) -> None:
        """End every event stream, then finish what was begun in the background."""
        await self.events.stop()
        await self.logs.stop()
        await self.background.drain()
        await self.ledger.stop()
        await self.gate.close()


class GatewayRequest(Request[None, Caller, State]):
    """A request that knows the gateway and, behind the gate, who calls."""

    async def json(self) -> Any:
        """Return the decoded body; the audit log keeps the ids it names."""
        body = await super().json()
        note_given(self.scope, body)
        return body

    async def is_still_admitted(self) -> bool:
        """Whether the caller would be let in now, too; asked while an answer goes on."""
        return await self.gateway.gate.still_admits(self, self.route_handler)

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
