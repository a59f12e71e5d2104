"""Recording a deployment: the one way of `POST /deploy` and of a retry, and why it may be refused."""

from functools import partial
from secrets import token_hex

import msgspec
from litestar.status_codes import HTTP_200_OK
from opentelemetry.trace import SpanKind

from services.gateway.errors import RateLimited, ValidationFailed
from services.gateway.lookup import PROJECT_LOCKED, PROJECT_NOT_FOUND
from services.gateway.platform_source import tree_of_project
from services.gateway.ports import Gateway, GatewayRequest
from services.gateway.queue_estimate import QueuePlace
from shared.adapters.postgres.acceptance import Order, Verdict
from shared.conclusion import interrupt
from shared.contracts.errors import Failure, ZepidError
from shared.outage import insist
from shared.source_origin import SourceTree
from shared.telemetry import TRACEPARENT, current_traceparent, span
from shared.times import iso_time

GATEWAY = "gateway"
"""Who decides what callers ask for; also where a cancelled deployment stood that had not begun a step."""
_IN_PROGRESS = (
    "Cannot start new deployment. Project is currently in '{state}' state. "
    "Please wait for the current deployment to complete."
)
_RETRY_SECONDS = 10


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment to be recorded.

    Attributes:
        id: its id, where asking twice is to make one deployment; by default a new one.
        snapshot_id: the tree to deploy; by default the project's latest.
        tree: what the request brought instead.
        retry_of: deploy the frozen snapshot of that deployment, with its priority and target.
        supersede: cancel the project's present deployment instead of being refused.
        timeout_seconds: from admission to the deadline, if it is to be shorter than the service's.
        debug: build afresh, and say more about it.
        key: how the request named itself.
        body_digest: what was asked for under that name.
        is_limited: whether it may come too soon after others; an operator's redrive may not.
    """

    project_id: str
    organization_id: str
    user_id: str
    id: str = ""
    priority: int = 5
    target: str | None = None
    snapshot_id: str | None = None
    tree: SourceTree | None = None
    retry_of: str | None = None
    supersede: bool = False
    timeout_seconds: float | None = None
    debug: bool = False
    key: str | None = None
    body_digest: str | None = None
    is_limited: bool = True


class DeployAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A recorded deployment: `deploymentId` for current clients, `id` and `details` for first ones.

    `superseded_id` is the deployment that was cancelled for it, `retry_of` the one whose snapshot it deploys again.
    """

    deployment_id: str
    id: str
    timestamp: str
    success: bool = True
    status: str = "queued"
    message: str = "Deployment initiated successfully"
    details: dict[str, str] = msgspec.field(default_factory=lambda: {"status": "queued"})
    superseded_id: str | msgspec.UnsetType = msgspec.UNSET
    retry_of: str | msgspec.UnsetType = msgspec.UNSET


async def accept(request: GatewayRequest, route: str, wanted: Wanted) -> DeployAnswer:
    """Record a deployment and wake intake, without waiting for the broker; its trace begins with `route`.

    Raises:
        ZepidError: it is refused, and nothing was changed.
    """
    gateway = request.gateway
    gateway.disk.must_have_room()
    deployment_id = wanted.id or f"deploy_{token_hex(16)}"
    given = request.headers.get(TRACEPARENT, "")
    attributes = {
        "http.request.method": "POST",
        "http.route": route,
        "url.path": request.scope["path"],
        "url.scheme": request.scope["scheme"],
        "zepid.deployment.id": deployment_id,
        "zepid.project.id": wanted.project_id,
    }
    name = f"POST {route}"
    with (
        gateway.waker.accepting(),
        span(name, given, kind=SpanKind.SERVER, attributes=attributes) as current,
    ):
        traceparent = current_traceparent(given)
        verdict = await _record(gateway, wanted, deployment_id, traceparent)
        if verdict.verdict == "from_project":
            tree = await tree_of_project(gateway.ports, wanted.project_id, wanted.organization_id)
            wanted = msgspec.structs.replace(wanted, tree=tree)
            verdict = await _record(gateway, wanted, deployment_id, traceparent)
        refusal = None if verdict.deployment_id else await _refusal(gateway, wanted, verdict)
        current.set_attribute("http.response.status_code", refusal.code.status if refusal else HTTP_200_OK)
    if refusal:
        raise refusal
    return _answer(wanted, verdict)


def _answer(wanted: Wanted, verdict: Verdict) -> DeployAnswer:
    """The same for a request that is repeated."""
    return DeployAnswer(
        deployment_id=verdict.deployment_id or "",
        id=verdict.deployment_id or "",
        timestamp=iso_time(verdict.accepted_at or 0),
        superseded_id=verdict.superseded_id or msgspec.UNSET,
        retry_of=wanted.retry_of or msgspec.UNSET,
    )


async def _record(gateway: Gateway, wanted: Wanted, deployment_id: str, traceparent: str) -> Verdict:
    ports = gateway.ports
    superseded = None
    if wanted.supersede:
        superseded = ZepidError("CANCELLED", f"superseded by deployment {deployment_id}").failure(GATEWAY)
    order = Order(
        id=deployment_id,
        project_id=wanted.project_id,
        organization_id=wanted.organization_id,
        user_id=wanted.user_id,
        priority=wanted.priority,
        target=wanted.target,
        snapshot_id=wanted.snapshot_id,
        tree=wanted.tree,
        templates=ports.templates.names,
        traceparent=traceparent,
        max_waiting=ports.settings.max_waiting_per_organization,
        timeout_seconds=wanted.timeout_seconds,
        debug=wanted.debug,
        retry_of=wanted.retry_of,
        superseding=superseded,
        key=wanted.key,
        body_digest=wanted.body_digest,
        rate_limit=ports.settings.deploy_rate_limit if wanted.is_limited else None,
        rate_window_seconds=ports.settings.deploy_rate_window,
    )
    verdict = await ports.deployments.accept(order)
    if verdict.verdict == "accepted":
        if verdict.superseded_id and superseded:
            call_off_cancelled(gateway, verdict.superseded_id, superseded)
        gateway.waker.wake(deployment_id, traceparent)
    return verdict


def call_off_cancelled(gateway: Gateway, deployment_id: str, failure: Failure) -> None:
    """Call off what a transaction has cancelled; deciding it again gives its row and changes nothing."""

    async def call_off() -> None:
        ports = gateway.ports
        await insist(partial(interrupt, ports.deployments, ports.bus, GATEWAY, deployment_id, "cancelled", failure))

    gateway.background.start(call_off(), f"calling off {deployment_id}")


async def _refusal(gateway: Gateway, wanted: Wanted, verdict: Verdict) -> ZepidError:
    match verdict.verdict:
        case "not_found":
            return ZepidError("PROJECT_NOT_FOUND", PROJECT_NOT_FOUND)
        case "inactive":
            return ZepidError("PROJECT_INACTIVE", "The project is not active")
        case "locked":
            return ZepidError("PROJECT_LOCKED", PROJECT_LOCKED)
        case "expired":
            return ZepidError("SOURCE_MISSING", "The source of that deployment is no longer kept; deploy a newer one")
        case "snapshot_not_found":
            return ValidationFailed({"source": ["The project has no snapshot of this id"]})
        case "key_reused":
            return ZepidError("IDEMPOTENCY_KEY_REUSED", "The Idempotency-Key was sent before with another request")
        case "rate_limited":
            settings = gateway.ports.settings
            return RateLimited(settings.deploy_rate_limit, settings.deploy_rate_window, verdict.retry_after or 1)
        case "queue_full":
            message = "Too many deployments of the organisation wait already. Try again when some have started."
            return ZepidError("QUEUE_FULL", message, retry_after=await _next_start(gateway, wanted.organization_id))
        case "quota_exceeded":
            message = "The organisation's plan has no deployment left in this period."
            return ZepidError("DEPLOYMENT_QUOTA_EXCEEDED", message)
        case _:
            message = _IN_PROGRESS.format(state=verdict.active_state)
            return ZepidError("DEPLOYMENT_IN_PROGRESS", message, details={"deploymentId": verdict.active_id})


async def _next_start(gateway: Gateway, organization_id: str) -> int:
    """Return the seconds until the organisation's next deployment will probably start."""
    overview = gateway.ports.overview
    of_one = next(iter(await overview.waiting(organization_id)), None)
    place = QueuePlace(
        queue_position=1,
        place=1,
        running=await overview.running(),
        running_of_one=of_one.running if of_one else 0,
        paused=False,
    )
    return await gateway.queue_estimate.seconds(place) or _RETRY_SECONDS
