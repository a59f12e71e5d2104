"""The client's streams, errors and retries, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from blake3 import blake3
from cli_service import TOKEN, Service, listening_socket, serving

from shared.client import ApiError, Client, ServerAway
from shared.client.sse import ServerEvent, parse


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving(Service()) as running:
        yield running


async def test_events_are_cut_at_line_feeds_only_wherever_the_chunks_end() -> None:
    data = 'say "hi"\u2028there\x0b\x85'
    text = f": comment\n\nid: 7\r\nevent: log\r\ndata: {data}\n\ndata: a\ndata: b\n\nevent: bare\n\n".encode()

    async def single_bytes() -> AsyncIterator[bytes]:
        for value in text:
            yield bytes([value])

    events = [event async for event in parse(single_bytes())]

    assert events == [ServerEvent("log", data, "7"), ServerEvent("message", "a\nb"), ServerEvent("bare", "")]


async def test_a_broken_stream_resumes_after_the_last_event_and_repeats_none(service: Service) -> None:
    service.cut_after = 3
    lost: list[str] = []
    async with Client(service.url, TOKEN) as client:
        events = [event async for event in client.follow_events("deploy_1", lost.append)]

    assert [event.id for event in events] == ["100", "101", "102", "103", "104", "105", "200"]
    assert service.resumed_after == ["102", "105"]
    assert len(lost) == 2


async def test_log_lines_arrive_once_over_broken_connections(service: Service) -> None:
    service.cut_after = 2
    service.log = [f"line {number}\u2028" for number in range(5)]
    async with Client(service.url, TOKEN) as client:
        lines = [line.message async for line in client.follow_logs("deploy_1") if line]

    assert lines == service.log


async def test_a_stream_survives_a_restart_of_the_server() -> None:
    before, after = Service(held=2), Service(held=3)
    async with serving(before):
        client = Client(before.url, TOKEN)
        following = asyncio.create_task(ids(client))
        await asyncio.wait_for(before.watched.wait(), 10)
    async with client, serving(after, port=int(before.url.rpartition(":")[2])):
        await asyncio.wait_for(after.watched.wait(), 10)
        after.go_on.set()
        seen = await asyncio.wait_for(following, 10)

    assert after.resumed_after == ["101"]
    assert seen == ["100", "101", "102", "103", "104", "105", "200"]


async def ids(client: Client) -> list[str]:
    return [event.id async for event in client.follow_events("deploy_1")]


async def test_a_server_that_stays_away_is_named_with_what_to_do() -> None:
    listener = listening_socket()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    async with Client(url, TOKEN, patience=0.1) as client:
        with pytest.raises(ServerAway, match=rf"{url}.*zepid up.*ZEPID_URL"):
            await client.whoami()
        with pytest.raises(ServerAway):
            _ = [event async for event in client.follow_events("deploy_1")]


async def test_a_refused_stream_is_not_tried_again(service: Service) -> None:
    async with Client(service.url, "wrong") as client:
        with pytest.raises(ApiError) as caught:
            _ = [event async for event in client.follow_events("deploy_1")]

    assert caught.value.status == 401
    assert len(service.requests) == 1


async def test_an_error_answer_keeps_status_name_message_and_request_id(service: Service) -> None:
    async with Client(service.url, TOKEN) as client:
        with pytest.raises(ApiError) as caught:
            await client.project("project_9")

    error = caught.value
    assert (error.status, error.error, error.request_id, error.code) == (
        404,
        "Project not found",
        "request-7",
        "NOT_FOUND",
    )


async def test_an_upload_survives_passing_failures_but_not_a_refusal(service: Service) -> None:
    service.flaky_uploads = 2
    async with Client(service.url, TOKEN) as client:
        await client.upload_blob(blake3(b"data").hexdigest(), b"data")
        with pytest.raises(ApiError, match="wrong digest"):
            await client.upload_blob("0" * 64, b"other")

    assert service.uploaded == [blake3(b"data").hexdigest()]
    assert sum(request.startswith("PUT") for request in service.requests) == 4


async def test_many_small_files_travel_together_and_survive_passing_failures(service: Service) -> None:
    service.flaky_uploads = 2
    blobs = {blake3(data).hexdigest(): data for data in (b"", b"one", b"two" * 1000)}
    async with Client(service.url, TOKEN) as client:
        await client.upload_blobs(blobs, "org_1")
        with pytest.raises(ApiError, match="wrong digest"):
            await client.upload_blobs({"0" * 64: b"other"})

    assert service.blobs == blobs
    assert service.requests == ["POST /blobs"] * 4


async def test_an_unhealthy_service_is_an_answer_not_an_error(service: Service) -> None:
    async with Client(service.url, TOKEN) as client:
        health = await client.health()

    assert msgspec.to_builtins(health)["checks"] == {"database": {"status": "unhealthy"}}
