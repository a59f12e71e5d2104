"""No route escapes: each says who may call it, and the isolation tests know how to attack it."""

import pytest
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException

from services.gateway.auth import require_rules
from tests.foreign import route_table, unknown


def test_only_these_routes_are_public():
    assert {endpoint.name for endpoint in route_table() if endpoint.rule == "public"} == {
        "GET /", "GET /health", "GET /health/detailed", "GET /health/live", "GET /health/ready", "GET /openapi.json",
        "GET /docs", "GET /docs/openapi.json", "GET /docs/{path}", "GET /dashboard",
    }  # fmt: skip


def test_the_isolation_tests_know_how_to_attack_every_route():
    assert [what for endpoint in route_table() for what in unknown(endpoint)] == []


def test_a_gateway_with_a_route_that_does_not_say_who_may_call_it_does_not_start():
    @get("/forgotten", sync_to_thread=False)
    def forgotten() -> None: ...

    with pytest.raises(ImproperlyConfiguredException, match="/forgotten has no access rule"):
        require_rules(Litestar([forgotten]))
