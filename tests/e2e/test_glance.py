"""The service at a glance: figures of deployments, and who runs."""

import asyncio
from typing import Any

from shared.adapters.postgres.tokens import Tokens
from shared.pulse import Pulse
from tests.golden_states import STATES, World
from tests.stand import DEADLINE, Stand
from tests.waiting import until


class Three:
    """A service that works on three things."""

    in_flight = 3


async def test_the_figures_are_those_of_the_tokens_organisation(stand: Stand) -> None:
    for number, state in enumerate(("waits", "builds", "is live", "failed")):
        world = World(stand, f"org-{number}")
        await STATES[f"a deployment that {state}"](world)
    await stand.resources.pool.execute(
        "update deployment d set outcome = p.outcome, freed_at = now() from deployment_progress p"
        " where p.deployment_id = d.id and p.finished"
    )
    _, token = await Tokens(stand.resources.pool).create("operator", ["admin"], None, "root")
    whole = (await stand.client.get("/status", headers={"authorization": f"Bearer {token}"})).json()
    assert whole["totals"] == {"pending": 1, "building": 1, "completed": 1, "failed": 1}
    assert (whole["running"], whole["waiting"]) == (1, 1)
    assert whole["lastHour"] == {"completed": 1, "failed": 1, "cancelled": 0, "successRate": 0.5}
    assert whole["steps"]["build"]["lastHour"] == {"count": 1, "p50": 1000, "p95": 1000}
    assert whole["steps"]["validate"]["lastDay"]["count"] == 2
    assert (whole["service"], whole["version"]) == ("Zepid Deploy V2", "2.0.0")
    own = (await stand.client.get("/status", headers={"authorization": f"Bearer {world.made['read']}"})).json()
    assert (own["totals"], own["running"], own["waiting"]) == ({"failed": 1}, 0, 0)
    assert (await stand.client.get("/status", headers={"authorization": ""})).status_code == 401


async def test_health_names_the_instances_that_were_heard_even_without_the_database(stand: Stand) -> None:
    stopping = asyncio.Event()
    pulse = Pulse(stand.resources.bus, {"build": Three(), "projector": object()})
    beating = asyncio.create_task(pulse.run(stopping))
    await stand.resources.pool.close()

    async def heard() -> Any:
        return (await stand.client.get("/health/detailed")).json()["services"]

    services = await until(heard, DEADLINE)
    stopping.set()
    await beating
    [build] = services["build"]
    assert (build["version"], build["inFlight"]) == ("2.0.0", 3)
    assert build["lastSeen"] >= build["startedAt"]
    assert "inFlight" not in services["projector"][0]
