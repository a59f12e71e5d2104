"""Logs as JSON lines with correlation ids, and one trace per deployment.

Traces are exported by OTLP when the standard `OTEL_*` variables name an endpoint; otherwise spans
cost nothing and only the `traceparent` header travels.
"""

import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
import structlog
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

TRACEPARENT = "traceparent"
SERVICE_VERSION = "2.0.0"
_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}
_provider: "TracerProvider | None" = None
_PROPAGATOR = TraceContextTextMapPropagator()

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def configure_logs(level: str, output: TextIO = sys.stderr) -> None:
    """Write our log lines and the libraries' warnings: JSON, or colours on a terminal.

    Args:
        level: `debug`, `info`, `warn` or `error`.
        output: where to.
    """
    terminal = output.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=output),
        cache_logger_on_first_use=True,
    )
    foreign = logging.StreamHandler(output)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[foreign], level=max(_LEVELS[level], logging.WARNING), force=True)


def _to_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def configure_traces(service: str, environ: Mapping[str, str] = os.environ) -> None:
    """Export spans by OTLP over HTTP if the environment names an endpoint."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    disabled = environ.get("OTEL_SDK_DISABLED") == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    if disabled or not any(environ.get(name) for name in endpoints):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = environ.get("OTEL_SERVICE_NAME", f"zepid-{service}")
    resource = Resource.create({"service.name": name, "service.version": SERVICE_VERSION})
    global _provider
    _provider = TracerProvider(resource=resource)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(_provider)


def flush_traces() -> None:
    """Send what spans are left; called once when a process stops."""
    if _provider is not None:
        _provider.shutdown()


@contextmanager
def span(
    name: str,
    traceparent: str = "",
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, str | int | float | bool] | None = None,
) -> Iterator[Span]:
    """Run a block as a span below the one that `traceparent` names."""
    if not _is_tracing():
        yield trace.INVALID_SPAN
        return
    parent = _PROPAGATOR.extract({TRACEPARENT: traceparent}) if traceparent else None
    tracer = trace.get_tracer("zepid")
    with tracer.start_as_current_span(name, context=parent, kind=kind, attributes=attributes) as current:
        yield current


def message_attributes(consumer: str, subject: str, deployment_id: str) -> dict[str, str | int | float | bool]:
    """Return the attributes of a span that works on a message, by the conventions of OpenTelemetry.

    Args:
        consumer: durable consumer that delivered the message.
        subject: its subject; what is shown ends before the deployment's id, so that values stay few.
        deployment_id: the deployment that it is about.
    """
    return {
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": consumer,
        "messaging.destination.name": subject.replace(deployment_id, "*"),
        "zepid.deployment.id": deployment_id,
    }


def mark_failed(current: Span, code: str, message: str) -> None:
    """Say on a span that what it covers failed, with the code of our table."""
    current.set_status(Status(StatusCode.ERROR, message))
    current.set_attribute("error.type", code)


def current_traceparent(given: str = "") -> str:
    """Return the W3C `traceparent` of the current span, else the given one if it is one, else a new one."""
    if not _is_tracing() and not given:
        return _new_traceparent()
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    if not carrier:
        _PROPAGATOR.inject(carrier, context=_PROPAGATOR.extract({TRACEPARENT: given}))
    return carrier.get(TRACEPARENT) or _new_traceparent()


def _is_tracing() -> bool:
    return _provider is not None


def _new_traceparent() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def trace_id_in(traceparent: str) -> str:
    """Return the trace id of a `traceparent` header, or ""."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 else ""
