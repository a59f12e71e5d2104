"""Projects over HTTP: changed, and deleted with all that follows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.domain_world import HOST, World, domain_world
from tests.stand import Stand
from tests.waiting import until


@pytest_asyncio.fixture
async def world(nats_server: str, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with domain_world(nats_server, database_url, tmp_path) as world:
        yield world


@pytest.fixture
def stand(world: World) -> Stand:
    return world.stand


async def changed(stand: Stand, project_id: str, body: object, **headers: str) -> httpx.Response:
    return await stand.client.patch(f"/projects/{project_id}", json=body, headers=headers)


async def test_what_is_named_is_changed_and_null_has_it_detected_again(stand: Stand) -> None:
    project_id = await stand.project()
    answer = await changed(
        stand, project_id, {"name": "New", "settings": {"buildCommand": "make", "outputDirectory": "out"}}
    )
    project = answer.json()["project"]
    assert (answer.status_code, project["name"]) == (200, "New")
    assert project["settings"] == {"buildCommand": "make", "outputDirectory": "out"}
    again = await changed(stand, project_id, {"settings": {"outputDirectory": None, "rootDirectory": "app"}})
    assert again.json()["project"]["settings"] == {"buildCommand": "make", "rootDirectory": "app"}
    assert again.json()["project"]["name"] == "New"
    assert (await stand.client.get(f"/projects/{project_id}")).json() == again.json()


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "x" * 101}, {"settings": {"root": "x"}}, {"isActive": "no"}, {"id": "x"}]
)
async def test_wrong_changes_are_refused(stand: Stand, body: object) -> None:
    answer = await changed(stand, await stand.project(), body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Validation Error")


async def test_an_inactive_project_takes_no_deployment(stand: Stand) -> None:
    project_id = await stand.project()
    assert (await changed(stand, project_id, {"isActive": False})).json()["project"]["isActive"] is False
    refused = await stand.deploy(project_id)
    assert (refused.status_code, refused.json()["error"]) == (400, "PROJECT_INACTIVE")
    await changed(stand, project_id, {"isActive": True})
    assert (await stand.deploy(project_id)).status_code == 200


async def test_of_two_changes_of_the_same_state_one_is_made(stand: Stand) -> None:
    project_id = await stand.project()
    seen = (await stand.client.get(f"/projects/{project_id}")).headers["etag"]
    answers = await asyncio.gather(
        *(changed(stand, project_id, {"name": f"by {number}"}, **{"If-Match": seen}) for number in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert {answer.json().get("error") for answer in answers} == {None, "PRECONDITION_FAILED"}
    gone = await stand.client.delete(f"/projects/{project_id}", headers={"If-Match": seen})
    assert gone.status_code == 412
    assert (await changed(stand, project_id, {"name": "any"}, **{"If-Match": "*"})).status_code == 200


async def test_a_deployment_in_progress_is_in_the_way_unless_it_is_cancelled(stand: Stand) -> None:
    project_id = await stand.project()
    deployment_id = (await stand.deploy(project_id)).json()["deploymentId"]
    refused = await stand.client.delete(f"/projects/{project_id}")
    assert (refused.status_code, refused.json()["deploymentId"]) == (409, deployment_id)
    gone = await stand.client.delete(f"/projects/{project_id}?cancel=true")
    assert (gone.status_code, gone.json()["cancelledId"]) == (200, deployment_id)
    outcome = await stand.resources.pool.fetchval("select outcome from deployment where id = $1", deployment_id)
    assert outcome == "cancelled"


async def test_a_deleted_project_is_missing_everywhere_and_its_domains_are_free(world: World) -> None:
    project_id, heir = await world.project(), await world.project(b"heir")
    stand, site = world.stand, await world.site(project_id)
    release = await world.edge.publish(site, {"index.html": b"live"})
    world.prove(await world.add(project_id))
    await world.reaches(project_id, "verified")
    hosts = [HOST, f"{site}.localhost", f"{release.replace('_', '-')}.{site}.localhost"]
    assert [(await world.ask_edge("/", host)).content for host in hosts] == [b"live"] * 3

    assert (await stand.client.delete(f"/projects/{project_id}")).json()["success"] is True

    async def nothing_is_served() -> bool:
        return [(await world.ask_edge("/", host)).status_code for host in hosts] == [404] * 3

    await until(nothing_is_served, 2.0)
    assert (await stand.client.get(f"/projects/{project_id}")).status_code == 404
    assert (await stand.client.delete(f"/projects/{project_id}")).status_code == 404
    assert (await changed(stand, project_id, {"name": "x"})).status_code == 404
    assert (await stand.deploy(project_id)).status_code == 404
    listed = (await stand.client.get("/projects")).json()["projects"]
    assert [project["id"] for project in listed] == [heir]
    row = await stand.resources.pool.fetchrow("select * from project where id = $1", project_id)
    assert (row["is_active"], row["custom_domain"], row["production_deploy_url"]) == (False, None, None)
    world.prove(await world.add(heir))
    await world.reaches(heir, "verified")


async def test_a_deleted_project_leaves_no_secret(world: World) -> None:
    project_id = await world.stand.project()
    await world.stand.client.put(f"/projects/{project_id}/env", json={"variables": {"A": "secret"}})
    deployment_id = (await world.stand.deploy(project_id)).json()["deploymentId"]
    await world.stand.client.delete(f"/projects/{project_id}?cancel=true")
    pool = world.stand.resources.pool
    assert await pool.fetchval("select count(*) from project_variable") == 0
    assert await pool.fetchval("select variables from deployment where id = $1", deployment_id) == {}


async def test_a_project_goes_live_where_its_settings_say_unless_the_request_does(stand: Stand) -> None:
    async def target_of(project_id: str, **more: str) -> str:
        deployment_id = (await stand.deploy(project_id, **more)).json()["id"]
        found: str = await stand.resources.pool.fetchval("select target from deployment where id = $1", deployment_id)
        return found

    elsewhere, here, plain = [await stand.project() for _ in range(3)]
    for project_id in (elsewhere, here):
        assert (await changed(stand, project_id, {"settings": {"target": "cloudflare"}})).status_code == 200
    assert await target_of(elsewhere) == "cloudflare"
    assert await target_of(here, target="local") == "local"
    assert await target_of(plain) == "local"
