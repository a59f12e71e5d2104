"""A project's environment variables; values can be set, never read."""

from collections.abc import Mapping
from urllib.parse import quote

from shared.client.answers import Answer
from shared.client.transport import Transport


class Variable(Answer, frozen=True):
    """A variable that is set; only builds see its value."""

    name: str
    updated_at: str = ""


class _Variables(Answer, frozen=True):
    variables: tuple[Variable, ...]


class Env:
    """`client.env`: every method returns the project's variables as they are afterwards."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, project_id: str) -> tuple[Variable, ...]:
        """Return the variables by name."""
        return (await self._transport.ask("GET", _path(project_id), _Variables)).variables

    async def set(self, project_id: str, values: Mapping[str, str | None]) -> tuple[Variable, ...]:
        """Set those that are named, or remove those whose value is None; others stay."""
        return (await self._transport.ask("PATCH", _path(project_id), _Variables, json={"variables": values})).variables

    async def replace(self, project_id: str, values: Mapping[str, str]) -> tuple[Variable, ...]:
        """Make these the project's variables; others are removed."""
        return (await self._transport.ask("PUT", _path(project_id), _Variables, json={"variables": values})).variables

    async def remove(self, project_id: str, name: str) -> tuple[Variable, ...]:
        """Remove one that is set."""
        path = f"{_path(project_id)}/{quote(name, safe='')}"
        return (await self._transport.ask("DELETE", path, _Variables)).variables


def _path(project_id: str) -> str:
    return f"/projects/{quote(project_id, safe='')}/env"
