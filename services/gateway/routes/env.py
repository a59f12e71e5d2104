"""A project's environment variables for builds: values go in and never come out."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import delete, get, patch, put
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath

from services.gateway.auth import DEPLOY, READ
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.lookup import visible_project
from services.gateway.ports import GatewayRequest
from shared.contracts.errors import ZepidError
from shared.times import iso_time
from shared.variables import MOST_BYTES, MOST_VARIABLES, fault_in_name, fault_in_value

_TAGS = ["Environment variables"]
_REFUSALS = {
    "too_many": f"A project may have {MOST_VARIABLES} variables",
    "too_large": f"Names and values of a project may have {MOST_BYTES // 1024} KiB together",
}
_SET: dict[str, Any] = {
    "status_code": 200,
    "opt": DEPLOY,
    "tags": _TAGS,
    "responses": error_responses(400, 401, 403, 404, 413, 501, 503),
}
_EXAMPLE = Example(
    summary="Two variables", value={"variables": {"VITE_API_URL": "https://api.example.com", "KEY": "1"}}
)

_VALUE = Example(summary="A value", value={"value": "https://api.example.com"})


class VariableBody(msgspec.Struct, frozen=True, rename="camel"):
    """A variable; its value is known to builds alone."""

    name: str
    updated_at: str


class VariableList(msgspec.Struct, frozen=True):
    """A project's variables, by name."""

    variables: list[VariableBody]


class AllVariables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every variable of a project: name → value."""

    variables: dict[str, str]


class ChangedVariables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Variables to set: name → value, null to remove; others stay as they are."""

    variables: dict[str, str | None]


class NewValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of one variable."""

    value: str


@get(
    "/projects/{project_id:str}/env",
    opt=READ,
    tags=_TAGS,
    summary="List a project's variables",
    responses=error_responses(401, 403, 404, 503),
)
async def list_variables(request: GatewayRequest, project_id: FromPath[str]) -> VariableList:
    """Return which variables are set and since when, without their values."""
    return await _list(request, (await visible_project(request, project_id)).id)


@get(
    "/projects/{project_id:str}/env/{name:str}",
    opt=READ,
    tags=_TAGS,
    summary="Look for a variable",
    responses=error_responses(401, 403, 404, 503),
)
async def read_variable(request: GatewayRequest, project_id: FromPath[str], name: FromPath[str]) -> VariableBody:
    """Tell whether a variable is set and since when, without its value."""
    known = await _list(request, (await visible_project(request, project_id)).id)
    return _named(known, name)


@put("/projects/{project_id:str}/env", summary="Replace a project's variables", **_SET)
async def replace_variables(
    request: GatewayRequest, project_id: FromPath[str], data: Annotated[AllVariables, Body(examples=[_EXAMPLE])]
) -> VariableList:
    """Make these the project's variables; those that are not named are removed. Deployments accepted later see them."""
    return await _change(request, project_id, data.variables, replace=True)


@patch("/projects/{project_id:str}/env", summary="Set some variables", **_SET)
async def change_variables(
    request: GatewayRequest, project_id: FromPath[str], data: Annotated[ChangedVariables, Body(examples=[_EXAMPLE])]
) -> VariableList:
    """Set or remove the variables that are named. Deployments accepted later see the change."""
    return await _change(request, project_id, data.variables)


@put("/projects/{project_id:str}/env/{name:str}", summary="Set a variable", **_SET)
async def set_variable(
    request: GatewayRequest,
    project_id: FromPath[str],
    name: FromPath[str],
    data: Annotated[NewValue, Body(examples=[_VALUE])],
) -> VariableBody:
    """Set one variable. Deployments accepted later see it."""
    return _named(await _change(request, project_id, {name: data.value}), name)


@delete(
    "/projects/{project_id:str}/env",
    status_code=200,
    opt=DEPLOY,
    tags=_TAGS,
    summary="Remove a project's variables",
    responses=error_responses(401, 403, 404, 503),
)
async def remove_variables(request: GatewayRequest, project_id: FromPath[str]) -> VariableList:
    """Remove every variable. What deployments have frozen stays with them."""
    return await _change(request, project_id, {}, replace=True)


@delete(
    "/projects/{project_id:str}/env/{name:str}",
    status_code=200,
    opt=DEPLOY,
    tags=_TAGS,
    summary="Remove a variable",
    responses=error_responses(401, 403, 404, 503),
)
async def remove_variable(request: GatewayRequest, project_id: FromPath[str], name: FromPath[str]) -> VariableList:
    """Remove one variable. What deployments have frozen stays with them."""
    project = await visible_project(request, project_id)
    _named(await _list(request, project.id), name)
    return await _change(request, project_id, {name: None})


async def _change(
    request: GatewayRequest, project_id: str, changes: Mapping[str, str | None], *, replace: bool = False
) -> VariableList:
    project = await visible_project(request, project_id)
    if faults := _faults(changes):
        raise ValidationFailed(faults)
    verdict = await request.ports.variables.change(project.id, changes, replace=replace)
    if refusal := _REFUSALS.get(verdict):
        raise ValidationFailed({"variables": [refusal]})
    return await _list(request, project.id)


def _faults(changes: Mapping[str, str | None]) -> dict[str, list[str]]:
    """What is wrong with names and values, by name; no value is ever shown."""
    faults: dict[str, list[str]] = {}
    for name, value in changes.items():
        fault = value is not None and (fault_in_name(name) or fault_in_value(value))
        if fault:
            faults[f"variables.{name[:80]}"] = [fault]
    return faults


def _named(known: VariableList, name: str) -> VariableBody:
    found = next((variable for variable in known.variables if variable.name == name), None)
    if found is None:
        raise ZepidError("NOT_FOUND", "The project has no variable of this name")
    return found


async def _list(request: GatewayRequest, project_id: str) -> VariableList:
    rows = await request.ports.variables.list(project_id)
    return VariableList([VariableBody(row.name, iso_time(row.updated_at)) for row in rows])


HANDLERS = [
    list_variables,
    read_variable,
    replace_variables,
    change_variables,
    set_variable,
    remove_variables,
    remove_variable,
]
