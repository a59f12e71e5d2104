"""What went wrong inside, for operators: every failed attempt with its stack trace."""

import msgspec
from litestar import get
from litestar.params import FromPath

from services.gateway.auth import ADMIN
from services.gateway.errors import error_responses
from services.gateway.lookup import visible_deployment
from services.gateway.ports import GatewayRequest
from shared.failure_log import FailureLog, KeptFailure


class FailureList(msgspec.Struct, frozen=True, rename="camel"):
    """The failed attempts of a deployment, oldest first."""

    deployment_id: str
    errors: list[KeptFailure]


@get(
    "/deploy/{deployment_id:str}/errors",
    opt=ADMIN,
    tags=["Operations"],
    summary="Read what failed, with stack traces",
    responses=error_responses(401, 403, 404, 503),
)
async def errors(request: GatewayRequest, deployment_id: FromPath[str]) -> FailureList:
    """Return every attempt that failed, with the full text that callers are not shown."""
    deployment = await visible_deployment(request, deployment_id)
    return FailureList(deployment.id, await FailureLog(request.ports.logs).read(deployment.id))


HANDLERS = [errors]
