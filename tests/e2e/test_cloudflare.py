"""The Cloudflare publisher over a fake of the API that checks what it is sent."""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from shared.adapters.publishers.cloudflare.api import open_api
from shared.adapters.publishers.cloudflare.assets import hash_of
from shared.adapters.publishers.cloudflare.hostnames import CustomHostnames
from shared.contracts.errors import ZepidError
from shared.hosting import AssetRules, Hosting
from shared.ports import Pointed
from tests.cloudflare_world import SITE, CloudflareWorld, cloudflare_world
from tests.edge_world import until
from tests.fakes import cloudflare_state
from tests.fakes.cloudflare import API_TOKEN, NAMESPACE

PAGE = {"index.html": b"<h1>hello</h1>", "assets/app.js": b"console.log(1)", "LICENSE": b"free"}
UPLOAD = "/workers/assets/upload$"
PUT = "^PUT .*/scripts/shop$"


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[CloudflareWorld]:
    async with cloudflare_world(tmp_path) as world:
        yield world


async def uploaded(world: CloudflareWorld, count: int) -> bool:
    return world.fake.blobs_uploaded() >= count


async def failure(world: CloudflareWorld, files: dict[str, bytes] = PAGE) -> ZepidError:
    with pytest.raises(ZepidError) as failed:
        await world.publish("rel_1", files)
    return failed.value


async def test_a_static_site_arrives_whole(world: CloudflareWorld) -> None:
    rules = "/assets/*\n  Cache-Control: immutable\n"
    files = {
        **PAGE,
        "_headers": rules.encode(),
        "_redirects": b"/a /b 301\n",
        ".assetsignore": b"*.map\n",
        "a.map": b"m",
    }
    hosting = Hosting("2025-01-01", assets=AssetRules("drop-trailing-slash", "404-page"))
    await world.publish("rel_1", files, hosting)
    script = world.fake.script(SITE)
    assert script.assets == {
        f"/{path}": {"hash": hash_of(data, path), "size": len(data)} for path, data in PAGE.items()
    }
    assert script.modules == {}
    assert script.metadata == {
        "tags": ["rel_1"],
        "compatibility_date": "2025-01-01",
        "compatibility_flags": [],
        "assets": {
            "config": {
                "html_handling": "drop-trailing-slash",
                "not_found_handling": "404-page",
                "_redirects": "/a /b 301\n",
                "_headers": f"/*\n  x-zepid-release: rel_1\n{rules}",
            }
        },
    }


async def test_a_worker_arrives_with_its_modules_variables_and_assets(world: CloudflareWorld) -> None:
    modules = {"index.js": b"import './lib.js'; export default {}", "lib.js": b"1"}
    assets = AssetRules(None, "single-page-application", ("/api/*",), "ASSETS")
    hosting = await world.worker(modules, assets=assets, GREETING="hi", LIMITS={"n": 1}, KEY="public")
    await world.publish("rel_1", PAGE, hosting, KEY="s3cret")
    script = world.fake.script(SITE)
    assert script.modules == {name: ("application/javascript+module", data) for name, data in modules.items()}
    assert script.metadata["main_module"] == "index.js"
    assert script.metadata["bindings"] == [
        {"name": "GREETING", "type": "plain_text", "text": "hi"},
        {"name": "LIMITS", "type": "json", "json": {"n": 1}},
        {"name": "KEY", "type": "secret_text", "text": "s3cret"},
        {"name": "ASSETS", "type": "assets"},
    ]
    assert script.metadata["assets"]["config"]["run_worker_first"] == ["/api/*"]
    await world.publish("rel_2", PAGE, await world.worker(modules))
    assert world.fake.script(SITE).secrets == {}, "the environment of a release is replaced, not added to"


async def test_a_worker_alone_is_seen_live_by_its_tag(world: CloudflareWorld) -> None:
    await world.publish("rel_1", {}, await world.worker({"index.js": b"export default {}"}))
    assert world.fake.script(SITE).assets == {}
    assert world.fake.count("assets-upload-session") == 0
    url = world.publisher.public_url(SITE)
    await world.publisher.probe(url, "rel_1")
    with pytest.raises(ZepidError, match="as no release, not as rel_0"):
        await world.publisher.probe(url, "rel_0")


async def test_without_a_namespace_the_script_is_put_on_the_account_and_shown(world: CloudflareWorld) -> None:
    world.publisher = world.another_publisher(dispatch_namespace_name="")
    await world.publish("rel_1", PAGE)
    assert world.fake.script(SITE, "").subdomain
    assert world.fake.count("/dispatch/") == 0


async def test_a_redeploy_uploads_what_changed_and_nothing_else(world: CloudflareWorld) -> None:
    files = {f"pages/{number}.html": b"<p>%d</p>" % number for number in range(5_000)}
    await world.publish("rel_1", files)
    assert world.fake.blobs_uploaded() == 5_000
    files["pages/77.html"] = b"<p>changed</p>"
    world.publisher = world.another_publisher()
    await world.publish("rel_2", files)
    assert world.fake.blobs_uploaded() == 5_001
    assert world.fake.script(SITE).metadata["tags"] == ["rel_2"]


async def test_files_of_equal_content_and_extension_are_uploaded_once(world: CloudflareWorld) -> None:
    await world.publish("rel_1", {"a.html": b"x", "b/c.html": b"x", "a.txt": b"x"})
    assert world.fake.blobs_uploaded() == 2
    assert len(world.fake.script(SITE).assets) == 3


async def test_many_buckets_are_uploaded_three_at_a_time(world: CloudflareWorld, monkeypatch: Any) -> None:
    monkeypatch.setattr(cloudflare_state, "MAX_BUCKET_FILES", 2)
    await world.publish("rel_1", {f"{number}.txt": b"%d" % number for number in range(24)})
    assert world.fake.count(UPLOAD) == 12
    assert world.fake.uploads_at_once == 3


async def test_what_is_served_already_costs_one_look(world: CloudflareWorld) -> None:
    await world.publish("rel_1", PAGE)
    calls = len(world.fake.calls)
    await world.publisher.publish(SITE, "rel_1")
    assert [call.path.rpartition("/")[2] for call in world.fake.calls[calls:]] == ["settings"]


async def test_a_rollback_uploads_nothing(world: CloudflareWorld) -> None:
    await world.publish("rel_1", PAGE)
    await world.publish("rel_2", {"index.html": b"second"})
    uploaded = world.fake.blobs_uploaded()
    await world.publish("rel_1", PAGE)
    assert world.fake.blobs_uploaded() == uploaded
    assert world.fake.script(SITE).metadata["tags"] == ["rel_1"]
    await world.publisher.probe(world.publisher.public_url(SITE), "rel_1")


async def test_a_crash_in_mid_upload_is_resumed_with_the_rest(world: CloudflareWorld, monkeypatch: Any) -> None:
    monkeypatch.setattr(cloudflare_state, "MAX_BUCKET_FILES", 1)
    files = {f"{number}.txt": b"%d" % number for number in range(9)}
    await world.point("rel_1", files)
    publishing = asyncio.create_task(world.publisher.publish(SITE, "rel_1"))
    await until(partial(uploaded, world, 4))
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    assert f"{NAMESPACE}/{SITE}" not in world.fake.scripts
    await world.another_publisher().publish(SITE, "rel_1")
    stored = len(world.fake.stored[f"{NAMESPACE}/{SITE}"])
    assert stored == 9
    assert world.fake.blobs_uploaded() <= 9 + 3, "only uploads that were cut off are made again"


async def test_a_lost_answer_to_the_script_is_no_second_upload(world: CloudflareWorld) -> None:
    world.fake.fail(PUT, 502, after=True)
    await world.publish("rel_1", PAGE)
    assert world.fake.script(SITE).deployed == 2
    assert world.fake.blobs_uploaded() == 3


async def test_an_expired_session_is_begun_again(world: CloudflareWorld) -> None:
    world.fake.tokens.lifetimes = [-1.0]
    await world.publish("rel_1", PAGE)
    assert world.fake.count("assets-upload-session") == 2
    assert world.fake.blobs_uploaded() == 3


async def test_an_expired_completion_token_is_asked_for_again(world: CloudflareWorld) -> None:
    world.fake.tokens.lifetimes = [3600.0, -1.0]
    await world.publish("rel_1", PAGE)
    assert world.fake.count("assets-upload-session") == 2
    assert world.fake.blobs_uploaded() == 3
    assert world.fake.script(SITE).deployed == 1


async def test_tokens_that_never_last_end_the_attempt(world: CloudflareWorld) -> None:
    world.fake.tokens.lifetimes = [-1.0] * 10
    error = await failure(world)
    assert error.code.name == "PUBLISH_FAILED"
    assert "expired 3 times" in error.message


async def test_a_rate_limit_is_waited_out_as_long_as_it_says(world: CloudflareWorld) -> None:
    world.fake.fail("assets-upload-session", 429, times=2, retry_after="7")
    await world.publish("rel_1", PAGE)
    assert len(world.pauses) == 2
    assert all(7 <= pause < 8.5 for pause in world.pauses)


async def test_a_long_rate_limit_is_left_to_the_step(world: CloudflareWorld) -> None:
    world.fake.fail("assets-upload-session", 429, retry_after="240")
    error = await failure(world)
    assert (error.code.name, error.retry_after, error.code.retryable) == ("PUBLISH_RATE_LIMITED", 240, True)
    assert world.pauses == []


async def test_the_real_limit_of_requests_is_told_apart(world: CloudflareWorld) -> None:
    world.fake.rate_limit = 0
    error = await failure(world)
    assert error.code.name == "PUBLISH_RATE_LIMITED"


async def test_server_errors_are_tried_three_times(world: CloudflareWorld) -> None:
    world.fake.fail(PUT, 503, times=2)
    await world.publish("rel_1", PAGE)
    assert world.fake.count(PUT) == 3
    world.fake.fail(PUT, 500, times=9, code=10013, message="internal error")
    await world.point("rel_2", PAGE)
    with pytest.raises(ZepidError, match=r"internal error \[code: 10013\]") as failed:
        await world.publisher.publish(SITE, "rel_2")
    assert failed.value.code.name == "PUBLISH_FAILED"
    assert failed.value.code.retryable
    assert world.fake.count(PUT) == 6


async def test_uploads_are_tried_five_times_ever_more_slowly(world: CloudflareWorld) -> None:
    world.fake.fail(UPLOAD, 500, times=4)
    await world.publish("rel_1", PAGE)
    assert world.pauses == [1, 2, 4, 8]
    world.fake.fail(UPLOAD, 500, times=5)
    await world.point("rel_2", {"new.txt": b"new"})
    with pytest.raises(ZepidError):
        await world.publisher.publish(SITE, "rel_2")


async def test_other_refusals_are_the_users_and_final(world: CloudflareWorld) -> None:
    world.fake.fail(PUT, 400, code=10021, message="Uncaught SyntaxError: Unexpected token at index.js:3")
    error = await failure(world)
    assert (error.code.name, error.code.retryable, error.code.failure_class) == ("PUBLISH_REJECTED", False, "user")
    assert "Uncaught SyntaxError: Unexpected token at index.js:3 [code: 10021]" in error.message
    assert error.code.hint
    assert world.fake.count(PUT) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cloudflare_api_token": "another"}, "PUBLISH_UNAUTHORIZED"),
        ({"cloudflare_account_id": "f" * 32}, "PUBLISH_UNAUTHORIZED"),
        ({"dispatch_namespace_name": "elsewhere"}, "PUBLISH_TARGET_MISSING"),
        ({"cloudflare_api_url": "http://127.0.0.1:1"}, "PUBLISH_FAILED"),
    ],
)
async def test_a_wrong_setting_is_found_before_anything_is_uploaded(
    world: CloudflareWorld, changes: dict[str, str], code: str
) -> None:
    world.publisher = world.another_publisher(**changes)
    error = await failure(world)
    assert error.code.name == code
    assert error.code.hint
    assert world.fake.blobs_uploaded() == 0


async def test_the_token_is_in_no_error_and_no_log(world: CloudflareWorld, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    world.fake.fail(PUT, 400, message=f"bad token {API_TOKEN}")
    error = await failure(world)
    assert API_TOKEN not in repr(error.failure("deploy")) + str(error) + caplog.text
    assert all(call.token != API_TOKEN for call in world.fake.calls if call.path.endswith("/assets/upload"))


async def test_what_the_pointer_names_meanwhile_is_served_in_the_end(world: CloudflareWorld) -> None:
    await world.publish("rel_1", PAGE)
    first, second = Pointed("rel_2", await world.store({"index.html": b"2"})), world.pointer.pointed
    answers = [first, second, second]

    async def read() -> Pointed:
        return answers.pop(0)

    world.pointer.read = read  # type: ignore[method-assign]
    await world.publisher.publish(SITE, "rel_2")
    assert world.fake.script(SITE).metadata["tags"] == ["rel_1"]


async def test_a_site_whose_pointer_went_back_to_nothing_is_removed(world: CloudflareWorld) -> None:
    await world.publish("rel_1", PAGE)
    world.pointer.pointed = Pointed(published="rel_1")
    await world.publisher.publish(SITE, "rel_1")
    await world.publisher.publish(SITE, "rel_1")
    assert world.fake.scripts == {}
    assert world.pointer.noted == ["rel_1", "done", "", ""]


async def test_a_site_that_still_answers_as_before_is_not_live(world: CloudflareWorld) -> None:
    await world.publish("rel_1", PAGE)
    with pytest.raises(ZepidError, match="as release rel_1, not as rel_2") as failed:
        await world.publisher.probe(world.publisher.public_url(SITE), "rel_2")
    assert failed.value.code.name == "PUBLISH_FAILED"


async def test_a_custom_host_name_becomes_active_and_is_removed(world: CloudflareWorld) -> None:
    async with open_api(world.settings, world.pause) as api:
        names = CustomHostnames(api, world.settings)
        asked = await names.create("www.example.org")
        assert (asked.state, [record.name for record in asked.records]) == (
            "pending",
            ["_cf-custom-hostname.www.example.org", "_acme-challenge.www.example.org"],
        )
        assert (await names.create("www.example.org")).id == asked.id
        seen = [await names.get(asked.id) for _ in range(3)]
        assert [(found.state, found.records) for found in seen if found] == [
            ("verified", ()), ("active", ()), ("active", ()),
        ]  # fmt: skip
        await names.delete(asked.id)
        await names.delete(asked.id)
        assert await names.get(asked.id) is None
        assert await names.find("www.example.org") is None


@pytest.mark.parametrize("ends", [("blocked", "pending_validation"), ("active", "validation_timed_out")])
async def test_a_host_name_that_cannot_be_served_has_failed(world: CloudflareWorld, ends: tuple[str, str]) -> None:
    world.fake.hostname_path = [ends]
    async with open_api(world.settings, world.pause) as api:
        assert (await CustomHostnames(api, world.settings).create("www.example.org")).state == "failed"


async def test_host_names_need_a_zone(world: CloudflareWorld) -> None:
    settings = msgspec.structs.replace(world.settings, cloudflare_zone_id="")
    async with open_api(settings, world.pause) as api:
        with pytest.raises(ZepidError, match="CLOUDFLARE_ZONE_ID"):
            CustomHostnames(api, settings)
