"""One trace a deployment, from the HTTP request to the last projection, over processes and by OTLP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from shared.http_service import HttpService
from shared.pipeline import STEPS
from tests.e2e.apps import static_html, write
from tests.live import LiveStack, live_stack
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Collector:
    """Receives spans over OTLP/HTTP as Jaeger would."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self.service = HttpService("collector", self, "127.0.0.1", self._port)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def trace_of(self, deployment_id: str, complete: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans of a deployment's whole trace, once it is complete."""

        async def look() -> list[Span]:
            ids = {
                span.trace_id for span in self._spans if attributes(span).get("zepid.deployment.id") == deployment_id
            }
            assert len(ids) <= 1, "a deployment has several traces"
            spans = [span for span in self._spans if span.trace_id in ids]
            return spans if complete(spans) else []

        found: list[Span] = await until(look, 20)
        return found

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[..., Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            for said in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{said}.complete"})
            return
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scoped in resource.scope_spans:
                self._spans += scoped.spans
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def attributes(span: Span) -> dict[str, str | int]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def named(spans: list[Span], name: str) -> Span:
    found = [span for span in spans if span.name == name]
    assert len(found) == 1, (name, [span.name for span in spans])
    return found[0]


def is_over(spans: list[Span]) -> bool:
    return {"project cleanup succeeded", "archive logs"} <= {span.name for span in spans}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[Collector]:
    stopping = asyncio.Event()
    collector = Collector()
    receiving = asyncio.create_task(collector.service.run(stopping))
    yield collector
    stopping.set()
    await receiving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveStack]:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    async with live_stack(tmp_path_factory.mktemp("traced"), "--processes", environ=environ) as running:
        yield running


async def test_a_deployment_is_one_whole_trace(stack: LiveStack, collector: Collector, tmp_path: Path) -> None:
    deployed = await stack.deploy(write(static_html(), tmp_path / "site"))
    assert deployed.exit_code == 0, deployed.result
    spans = await collector.trace_of(deployed.result["deploymentId"], is_over)

    roots = [span for span in spans if not span.parent_span_id]
    assert [(root.name, root.kind) for root in roots] == [("POST /deploy", Span.SPAN_KIND_SERVER)]
    assert attributes(roots[0])["http.response.status_code"] == 200
    known = {span.span_id for span in spans}
    assert not [span.name for span in spans if span.parent_span_id and span.parent_span_id not in known]
    assert not [span.name for span in spans if span.status.code == Status.STATUS_CODE_ERROR]

    names = {span.name for span in spans}
    assert "intake" in names
    for step in STEPS:
        worked = named(spans, f"process {step.name}")
        assert worked.kind == Span.SPAN_KIND_CONSUMER
        assert attributes(worked)["messaging.destination.name"] == f"deployment.queue.{step.name}.*"
        assert f"project {step.name} succeeded" in names
    assert "project deploy ended" in names


async def test_a_failed_deployment_marks_where_it_failed(
    stack: LiveStack, collector: Collector, tmp_path: Path
) -> None:
    tree = {"package.json": b'{"name": "broken", "scripts": {"build": "exit 3"}}'}
    deployed = await stack.deploy(write(tree, tmp_path / "broken"))
    assert deployed.result["status"] == "failed"
    spans = await collector.trace_of(deployed.result["deploymentId"], is_over)
    assert [span.name for span in spans if span.status.code == Status.STATUS_CODE_ERROR] == ["process build"]
    build = named(spans, "process build")
    assert attributes(build)["error.type"] == deployed.result["diagnosis"]["code"]
    assert build.status.message == deployed.result["diagnosis"]["message"]


async def test_a_callers_trace_goes_on(stack: LiveStack, collector: Collector, tmp_path: Path) -> None:
    await stack.deploy(write(static_html(), tmp_path / "site"))
    trace_id, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    connection = stack.connection
    projects = (await stack.get("/projects")).json()["projects"]
    order = {"projectId": projects[0]["id"], "orgId": connection.organization_id, "userId": connection.user_id}
    headers = {"Authorization": f"Bearer {connection.token}", "traceparent": f"00-{trace_id}-{caller}-01"}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{connection.url}/deploy", json=order, headers=headers)
    spans = await collector.trace_of(answer.json()["deploymentId"], is_over)
    assert {span.trace_id.hex() for span in spans} == {trace_id}
    assert named(spans, "POST /deploy").parent_span_id.hex() == caller
