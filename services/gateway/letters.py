"""Which dead letters a request is about, and which of them its token may see."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from services.gateway.ports import GatewayRequest
from shared.adapters.jetstream.dead_letters import Letter
from shared.adapters.postgres.deployments import Deployments

Reason = Literal["max_retries_exceeded", "processing_timeout", "invalid_message", "system_error"]
_AT_ONCE = 200


class LetterFilter(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Keeps the letters that fit all that is given.

    Attributes:
        reason: what they died of.
        actor: the step they were for.
        org_id: whose deployment it was.
        before: when they had died.
    """

    reason: Reason | None = None
    actor: str | None = None
    org_id: str | None = None
    before: Annotated[datetime, Meta(tz=True)] | None = None

    def fits(self, letter: Letter) -> bool:
        """Whether a letter fits, its organisation aside."""
        content = letter.content
        return (
            self.reason in (None, content.reason)
            and self.actor in (None, content.actor)
            and (self.before is None or content.died_at < self.before.timestamp())
        )


class FoundLetter(msgspec.Struct, frozen=True):
    """A letter and whose it is, as far as that can be told."""

    letter: Letter
    organization_id: str | None = None
    project_id: str | None = None


async def select(
    request: GatewayRequest, letters: AsyncIterator[Letter], wanted: LetterFilter
) -> AsyncIterator[FoundLetter]:
    """Yield the letters that fit and that the caller may see.

    One whose organisation is unknown is for tokens of every organisation only.
    """
    caller = request.caller
    if wanted.org_id:
        caller.must_act_for(wanted.org_id)
    organization_id = wanted.org_id or caller.organization_id
    async for found in _owned(request.ports.deployments, (letter async for letter in letters if wanted.fits(letter))):
        if organization_id in (None, found.organization_id):
            yield found


async def _owned(deployments: Deployments, letters: AsyncIterator[Letter]) -> AsyncIterator[FoundLetter]:
    """Tell whose each letter is: its command says it, or else its deployment's row."""
    async for chunk in _chunks(letters):
        unread = [letter.content.deployment_id for letter in chunk if letter.command is None]
        origins = await deployments.origins(unread) if unread else {}
        for letter in chunk:
            owner = letter.command or origins.get(letter.content.deployment_id)
            yield FoundLetter(letter, owner.organization_id, owner.project_id) if owner else FoundLetter(letter)


async def _chunks(letters: AsyncIterator[Letter]) -> AsyncIterator[list[Letter]]:
    chunk: list[Letter] = []
    async for letter in letters:
        chunk.append(letter)
        if len(chunk) == _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
