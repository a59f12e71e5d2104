"""Numbers for Prometheus: how much waits, runs and was given up, and what had to be repaired."""

from collections.abc import Iterable, Mapping

from litestar import Response, get

from services.gateway.auth import ADMIN
from services.gateway.backlog import backlog, dead_letters
from services.gateway.errors import error_responses
from services.gateway.ports import GatewayPorts, GatewayRequest
from shared.adapters.jetstream.consumer import BROKER_AWAY
from shared.contracts.errors import ZepidError
from shared.contracts.subjects import EVENT_STREAM
from shared.telemetry import log

_TEXT = "text/plain; version=0.0.4"
Sample = tuple[Mapping[str, str], float]


@get(
    "/metrics",
    opt=ADMIN,
    tags=["Operations"],
    summary="Metrics for Prometheus",
    media_type=_TEXT,
    responses=error_responses(401, 403, 503),
)
async def metrics(request: GatewayRequest) -> Response[str]:
    """Return metrics in Prometheus' text format; while the broker is away only those of the database."""
    lines = await _from_database(request.ports)
    try:
        lines += await _from_broker(request.ports)
        broker_up = 1
    except (ZepidError, *BROKER_AWAY) as error:
        log.warning("metrics without the broker", error=repr(error))
        broker_up = 0
    lines += _metric("broker_up", "gauge", "Whether the broker answers", [({}, broker_up)])
    return Response("\n".join([*lines, ""]), media_type=_TEXT)


async def _from_database(ports: GatewayPorts) -> list[str]:
    overview = ports.overview
    waiting = await overview.waiting(None)
    number = [
        ({"state": "waiting"}, sum(row.waiting for row in waiting)),
        ({"state": "running"}, await overview.running()),
    ]
    oldest = max((row.oldest_age_seconds for row in waiting), default=0.0)
    repairs = [({"repair": repair.name}, repair.repaired) for repair in await overview.repairs()]
    removals = [({"what": name}, removed) for name, removed in (await overview.removals()).items()]
    return [
        *_metric("deployments", "gauge", "Deployments that are not over", number),
        *_metric("oldest_waiting_seconds", "gauge", "Age of the deployment that waits longest", [({}, oldest)]),
        *_metric("repairs_total", "counter", "What the reconciler had to mend", repairs),
        *_metric("removed_rows_total", "counter", "Rows that are no longer kept", removals),
    ]


async def _from_broker(ports: GatewayPorts) -> list[str]:
    actors = await backlog(ports.bus)
    letters = await dead_letters(ports.bus)
    last = (await ports.bus.jetstream.stream_info(EVENT_STREAM)).state.last_seq
    behind = max(0, last - await ports.overview.projected())
    pending = [({"actor": actor}, queue.pending) for actor, queue in actors.items()]
    in_flight = [({"actor": actor}, queue.in_flight) for actor, queue in actors.items()]
    return [
        *_metric("queue_pending", "gauge", "Commands that wait for a worker", pending),
        *_metric("queue_in_flight", "gauge", "Commands that are being worked on", in_flight),
        *_metric("dead_letters", "gauge", "Commands that were given up", [({}, letters)]),
        *_metric("projection_lag_events", "gauge", "Events that the status does not show yet", [({}, behind)]),
    ]


def _metric(name: str, kind: str, meaning: str, samples: Iterable[Sample]) -> list[str]:
    """Return one metric; labels and their values are names of this program, which need no quoting."""
    name = f"zepid_{name}"
    lines = [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        pairs = ",".join(f'{label}="{text}"' for label, text in labels.items())
        lines.append(f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}")
    return lines


HANDLERS = [metrics]
