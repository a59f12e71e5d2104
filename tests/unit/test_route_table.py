"""No route escapes: each says who may call it, and the isolation tests know how to attack it."""

import re
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException

from services.gateway.auth import READ, require_rules
from services.gateway.routes.service import root
from tests.foreign import route_table, unknown


def test_only_these_routes_are_public():
    assert {endpoint.name for endpoint in route_table() if endpoint.rule == "public"} == {
        "GET /", "GET /health", "GET /health/detailed", "GET /health/live", "GET /health/ready", "GET /openapi.json",
        "GET /docs", "GET /docs/openapi.json", "GET /docs/{path}", "GET /dashboard",
    }  # fmt: skip


def test_the_front_door_names_routes_that_exist():
    there = {re.sub(r"{\w+}", "{id}", endpoint.name) for endpoint in route_table()}
    assert set(root.fn().endpoints.values()) <= there


def test_the_isolation_tests_know_how_to_attack_every_route():
    assert [what for endpoint in route_table() for what in unknown(endpoint)] == []


def test_a_gateway_with_a_route_that_does_not_say_who_may_call_it_does_not_start():
    @get("/forgotten", sync_to_thread=False)
    def forgotten() -> None: ...

    with pytest.raises(ImproperlyConfiguredException, match="/forgotten has no access rule"):
        require_rules(Litestar([forgotten], before_request=let_pass), let_pass)


async def let_others_pass(_: Any) -> None: ...


@pytest.mark.parametrize("options", [{"before_request": let_others_pass}, {"cache": True}])
def test_a_gateway_with_a_route_that_answers_before_the_gate_does_not_start(options: dict[str, Any]):
    @get("/around", sync_to_thread=False, opt=READ, **options)
    def around_it() -> None: ...

    with pytest.raises(ImproperlyConfiguredException, match="/around can answer before"):
        require_rules(Litestar([around_it], before_request=let_pass, openapi_config=None), let_pass)


async def let_pass(_: Any) -> None: ...
