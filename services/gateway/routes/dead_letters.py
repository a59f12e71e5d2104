"""The dead letters: look at them, redrive them, discard them. For operators only."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import Body, FromPath, QueryParameter
from msgspec import Meta

from services.gateway.auth import ADMIN
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.letters import FoundLetter, LetterFilter, Reason, select
from services.gateway.lookup import DeploymentRow
from services.gateway.ports import GatewayRequest
from services.gateway.redrive import Operator
from services.gateway.status import StatusBody
from shared.adapters.jetstream.dead_letters import DeadLetters
from shared.contracts.errors import ZepidError
from shared.times import iso_time

_NO_LETTER = "There is no dead letter of this sequence, or the token may not see it"
GREATEST_SEQUENCE = 2**53 - 1
_ANSWER_SECONDS = 15.0
"""A call begins no letter after that; `next` tells where to go on."""


class LetterRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A dead letter in a list; `error` is its last, organisation and project are unknown where they can't be told."""

    sequence: int
    died_at: str
    actor: str
    reason: str
    deployment_id: str
    deliveries: int
    error: str = ""
    organization_id: str | None = None
    project_id: str | None = None


class LetterPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Dead letters, newest first; `next_cursor` asks for the next page."""

    letters: list[LetterRow]
    next_cursor: int | None = None


class WholeLetter(LetterRow, frozen=True, kw_only=True):
    """Everything about a dead letter.

    Attributes:
        errors: one line an attempt that failed, oldest first.
        body: the command as text.
        deployment: where its deployment stands now, None when there is no such deployment.
    """

    errors: tuple[str, ...]
    body: str
    trace_id: str = ""
    deployment: StatusBody | None = None


class RedrivenLetter(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A letter that is gone; `new_deployment_id` is None where a cleanup was queued again."""

    sequence: int
    deployment_id: str
    new_deployment_id: str | None = None


class RefusedLetter(msgspec.Struct, frozen=True):
    """A letter that stays, with why."""

    sequence: int
    code: str
    message: str


class RedriveOrder(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which letters to redrive, oldest first.

    Attributes:
        filter: all that fit; by default all.
        rate_per_second: at most so many letters a second.
        limit: at most so many letters in this call.
        after: only those after this sequence: `next` of the call before.
    """

    filter: LetterFilter = LetterFilter()
    rate_per_second: Annotated[float, Meta(ge=0.1, le=1000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[int, Meta(ge=0, le=GREATEST_SEQUENCE)] = 0


class RedriveAnswer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=False):
    """What became of each letter; with `next` there are more letters after that sequence."""

    redriven: list[RedrivenLetter]
    refused: list[RefusedLetter]
    next: int | None = None


class DiscardOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a letter is discarded."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class DiscardedLetter(msgspec.Struct, frozen=True):
    """A letter that is gone."""

    sequence: int
    success: bool = True


@get(
    "/status/dlq", opt=ADMIN, tags=["Dead letters"], summary="List them", responses=error_responses(400, 401, 403, 503)
)
async def list_letters(
    request: GatewayRequest,
    reason: Annotated[Reason | None, QueryParameter(description="Only those that died of this")] = None,
    actor: Annotated[str | None, QueryParameter(description="Only those of this step")] = None,
    org_id: Annotated[str | None, QueryParameter(name="orgId")] = None,
    before: Annotated[datetime | None, QueryParameter(description="Only those that died before")] = None,
    cursor: Annotated[
        int | None, QueryParameter(ge=1, le=GREATEST_SEQUENCE, description="`nextCursor` of the page before")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> LetterPage:
    """Return the dead letters that the token may see, newest first."""
    if before and "-" not in request.query_params["before"][1:]:
        raise ValidationFailed({"before": ["Expected a moment such as 2026-01-01T00:00:00Z"]})
    wanted = LetterFilter(reason, actor, org_id, _aware(before))
    letters = DeadLetters(request.ports.bus).newest_first(actor, cursor)
    rows: list[LetterRow] = []
    async for found in select(request, letters, wanted):
        if len(rows) == limit:
            return LetterPage(rows, rows[-1].sequence)
        rows.append(_row(found))
    return LetterPage(rows)


@get(
    "/status/dlq/{sequence:int}",
    opt=ADMIN,
    tags=["Dead letters"],
    summary="Read one",
    responses=error_responses(401, 403, 404, 503),
)
async def read_letter(request: GatewayRequest, sequence: FromPath[int]) -> WholeLetter:
    """Return a whole dead letter: why it died, attempt by attempt, and where its deployment stands now."""
    found = await _visible(request, sequence)
    content = found.letter.content
    row = await request.ports.deployments.status(content.deployment_id)
    return WholeLetter(
        **msgspec.structs.asdict(_row(found)),
        errors=content.errors,
        body=content.body,
        trace_id=content.trace_id,
        deployment=DeploymentRow(row).body() if row else None,
    )


@post(
    "/status/dlq/{sequence:int}/redrive",
    status_code=200,
    opt=ADMIN,
    tags=["Dead letters"],
    summary="Redrive one",
    responses=error_responses(400, 401, 403, 404, 409, 429, 503),
)
async def redrive_letter(request: GatewayRequest, sequence: FromPath[int]) -> RedrivenLetter:
    """Make a new deployment from the same snapshot, or queue the cleanup again; the letter is gone then."""
    found = await _visible(request, sequence)
    return await _redrive(Operator(request), found)


@post(
    "/status/dlq/redrive",
    status_code=200,
    opt=ADMIN,
    tags=["Dead letters"],
    summary="Redrive many",
    responses=error_responses(400, 401, 403, 503),
)
async def redrive_letters(request: GatewayRequest, data: Annotated[RedriveOrder, Body()]) -> RedriveAnswer:
    """Redrive the letters that fit, oldest first, and say what became of each."""
    operator = Operator(request)
    letters = DeadLetters(request.ports.bus).oldest_first(data.filter.actor, data.after)
    ends_at = time.monotonic() + _ANSWER_SECONDS
    answer = RedriveAnswer([], [])
    last = data.after
    async for found in select(request, letters, data.filter):
        if len(answer.redriven) + len(answer.refused) >= data.limit or time.monotonic() > ends_at:
            return msgspec.structs.replace(answer, next=last)
        last = found.letter.sequence
        try:
            answer.redriven.append(await _redrive(operator, found))
        except ZepidError as error:
            if error.code.status >= 500:
                raise
            answer.refused.append(RefusedLetter(last, error.code.name, error.message))
        if data.rate_per_second:
            await asyncio.sleep(1 / data.rate_per_second)
    return answer


@delete(
    "/status/dlq/{sequence:int}",
    status_code=200,
    opt=ADMIN,
    tags=["Dead letters"],
    summary="Discard one",
    responses=error_responses(400, 401, 403, 404, 503),
)
async def discard_letter(
    request: GatewayRequest, sequence: FromPath[int], data: Annotated[DiscardOrder, Body()]
) -> DiscardedLetter:
    """Remove a letter for good; the reason stays in the journal."""
    found = await _visible(request, sequence)
    await Operator(request).discard(found.letter, data.reason)
    return DiscardedLetter(sequence)


async def _visible(request: GatewayRequest, sequence: int) -> FoundLetter:
    if not 0 < sequence <= GREATEST_SEQUENCE:
        raise ZepidError("NOT_FOUND", _NO_LETTER)
    async for found in select(request, DeadLetters(request.ports.bus).one(sequence), LetterFilter()):
        return found
    raise ZepidError("NOT_FOUND", _NO_LETTER)


async def _redrive(operator: Operator, found: FoundLetter) -> RedrivenLetter:
    letter = found.letter
    redriven_as = await operator.redrive(letter)
    return RedrivenLetter(letter.sequence, letter.content.deployment_id, redriven_as or None)


def _row(found: FoundLetter) -> LetterRow:
    content = found.letter.content
    return LetterRow(
        sequence=found.letter.sequence,
        died_at=iso_time(content.died_at),
        actor=content.actor,
        reason=content.reason,
        deployment_id=content.deployment_id,
        deliveries=content.deliveries,
        error=content.errors[-1] if content.errors else "",
        organization_id=found.organization_id,
        project_id=found.project_id,
    )


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


HANDLERS = [list_letters, read_letter, redrive_letter, redrive_letters, discard_letter]
