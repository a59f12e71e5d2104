"""The least that accepts an order: decode the body, one durable INSERT, answer (for `zepid bench api`)."""

from uuid import uuid4

import asyncpg
import msgspec
from litestar import Litestar, post

from services.gateway.orders import DeployOrder
from shared.http_service import HttpService
from shared.resources import Resources
from shared.service import Service, run_alone

TABLE = "create table bench_order (id text primary key, project_id text not null, organization_id text not null,\
 user_id text not null, accepted_at timestamptz not null default clock_timestamp())"
_INSERT = "insert into bench_order (id, project_id, organization_id, user_id) values ($1, $2, $3, $4)"


class Accepted(msgspec.Struct, frozen=True, rename="camel"):
    """What is answered."""

    deployment_id: str


def create(resources: Resources) -> Service:
    """Make the service, on the server and with the pool that the gateway has."""
    settings = resources.settings
    return HttpService("floor", _app(resources.pool), settings.host, settings.port)


def _app(pool: asyncpg.Pool) -> Litestar:
    @post("/deploy", status_code=200)
    async def deploy(data: DeployOrder) -> Accepted:
        order_id = f"order_{uuid4().hex}"
        await pool.execute(_INSERT, order_id, data.project_id, data.org_id, data.user_id)
        return Accepted(order_id)

    return Litestar([deploy], logging_config=None, openapi_config=None)


if __name__ == "__main__":
    run_alone("floor", create)
