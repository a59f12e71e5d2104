"""`customDomain` of `POST /deploy`: the project's domain, asked for along with its deployment."""

from services.gateway.errors import ValidationFailed
from services.gateway.lookup import PROJECT_NOT_FOUND, visible_project
from services.gateway.ports import GatewayRequest
from shared.contracts.errors import ZepidError
from shared.domains.hostnames import custom_hostname

FIELD = "customDomain"


def checked_hostname(request: GatewayRequest, given: str) -> str:
    """Return the host name of a request in the one form; raises ValidationFailed."""
    try:
        return custom_hostname(given, request.ports.settings.edge_url)
    except ZepidError as error:
        raise ValidationFailed({FIELD: [error.message]}) from None


async def ask_for_domain(request: GatewayRequest, given: str, project_id: str, organization_id: str) -> None:
    """Make the domain pending for the project, which is fine if it has it already.

    Raises:
        ZepidError: PROJECT_NOT_FOUND; ValidationFailed, the name is unusable or proved by another project.
    """
    project = await visible_project(request, project_id)
    if project.organization_id != organization_id:
        raise ZepidError("PROJECT_NOT_FOUND", PROJECT_NOT_FOUND)
    try:
        await request.ports.domains.claim(checked_hostname(request, given), project.id, organization_id)
    except ZepidError as error:
        if error.code.name not in ("DOMAIN_TAKEN", "DOMAIN_INVALID"):
            raise
        raise ValidationFailed({FIELD: [error.message]}) from None
