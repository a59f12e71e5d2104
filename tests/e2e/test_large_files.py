"""Large files come as a stream: whole, in parts, never damaged, and never all of them in memory."""

import asyncio
import os
from pathlib import Path

import httpx
import pytest

from services.edge.contents import STREAMED_FROM
from shared import blobs
from tests.edge_world import EdgeWorld, edge_world

SIZE = 6 << 20
LARGE = os.urandom(SIZE)


@pytest.fixture
async def world(database_url: str, tmp_path: Path):
    async with edge_world(database_url, tmp_path) as opened:
        await opened.publish("big", {"index.html": b"<h1>big</h1>", "film.mp4": LARGE})
        yield opened


def path_of(world: EdgeWorld) -> Path:
    return Path(world.objects._root) / blobs.key_of(blobs.digest_of(LARGE))


async def test_a_large_file_comes_whole_twice_and_its_head_says_how_large(world):
    async with world.client("big") as client:
        for _ in range(2):
            answer = await client.get("/film.mp4")
            assert (answer.status_code, answer.headers["content-length"]) == (200, str(SIZE))
            assert answer.content == LARGE
        head = await client.head("/film.mp4")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(SIZE), b"")
        known = await client.get("/film.mp4", headers={"if-none-match": head.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1048575-1048577", 1048575, 1048578),
        ("bytes=5000000-", 5_000_000, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=0-{SIZE - 1}", 0, SIZE),
    ],
)
async def test_a_part_of_a_large_file_is_exactly_that(world, asked, start, end):
    async with world.client("big") as client:
        answer = await client.get("/film.mp4", headers={"range": asked})
        assert (answer.status_code, answer.headers["content-range"]) == (206, f"bytes {start}-{end - 1}/{SIZE}")
        assert answer.content == LARGE[start:end]
        beyond = await client.get("/film.mp4", headers={"range": f"bytes={SIZE}-"})
        assert (beyond.status_code, beyond.content) == (416, b"")


async def test_many_at_once_get_the_same_bytes_over_connections_that_are_kept(world):
    async with world.client("big") as client:

        async def fetch() -> bool:
            return (await client.get("/film.mp4")).content == LARGE and (await client.get("/")).text == "<h1>big</h1>"

        assert all(await asyncio.gather(*(fetch() for _ in range(12))))


@pytest.mark.parametrize("damage", ["shorter", "changed"])
async def test_a_damaged_file_is_cut_off_instead_of_passing_for_whole(world, damage):
    path = path_of(world)
    changed = bytearray(LARGE)
    changed[STREAMED_FROM // 2] ^= 1
    path.write_bytes(LARGE[: SIZE - 1] if damage == "shorter" else bytes(changed))
    async with world.client("big") as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/film.mp4")
        assert (await client.get("/")).status_code == 200


async def test_a_missing_file_is_said_to_be_unavailable(world):
    path_of(world).unlink()
    async with world.client("big") as client:
        assert (await client.get("/film.mp4")).status_code == 503


async def test_who_leaves_in_the_middle_disturbs_nobody(world):
    async with world.client("big") as client:
        async with client.stream("GET", "/film.mp4") as answer:
            await anext(answer.aiter_raw(1024))
        assert (await client.get("/film.mp4")).content == LARGE


async def test_a_proved_file_that_is_shortened_later_is_said_to_be_unavailable(world):
    async with world.client("big") as client:
        assert (await client.get("/film.mp4")).content == LARGE
        path_of(world).write_bytes(LARGE[:-1])
        assert (await client.get("/film.mp4")).status_code == 503


async def test_requests_sent_ahead_are_answered_in_order_and_a_slow_reader_gets_everything(world):
    """The file is proved first, so that the kernel sends it while the connection's next requests wait."""
    async with world.client("big") as client:
        await client.get("/film.mp4")
    host = f"big.localhost:{world.settings.edge_port}"
    asked = "".join(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n" for path in ("/film.mp4", "/", "/film.mp4"))
    reader, writer = await asyncio.open_connection("127.0.0.1", world.settings.edge_port, limit=1 << 16)
    writer.write(asked.encode())
    for expected in (LARGE, b"<h1>big</h1>", LARGE):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(expected)) == expected
    writer.close()


async def test_who_leaves_while_the_kernel_sends_disturbs_nobody(world):
    async with world.client("big") as client:
        await client.get("/film.mp4")
        for _ in range(3):
            async with client.stream("GET", "/film.mp4") as answer:
                await anext(answer.aiter_raw(1024))
        assert (await client.get("/film.mp4")).content == LARGE
        assert (await client.get("/film.mp4", headers={"range": "bytes=10-19"})).content == LARGE[10:20]
