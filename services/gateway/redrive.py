"""What operators do with a dead letter: a new deployment from it, its cleanup again, or nothing more."""

import time

import msgspec
from blake3 import blake3

from services.gateway.acceptance import Wanted, accept
from services.gateway.ports import GatewayRequest
from shared.adapters.jetstream.bus import decode_event
from shared.adapters.jetstream.dead_letters import DeadLetters, Letter
from shared.adapters.postgres.deployments import Origin
from shared.contracts import subjects
from shared.contracts.errors import ZepidError
from shared.contracts.events import LetterClosed, Reissued
from shared.pipeline import CLEANUP


class Operator:
    """Someone at work on the dead letters; what was done can safely be done again after a crash.

    The letter goes last: until then the same redrive makes the same deployment.
    """

    def __init__(self, request: GatewayRequest) -> None:
        self._request = request
        self._ports = request.ports
        self._letters = DeadLetters(request.ports.bus)

    async def redrive(self, letter: Letter) -> str:
        """Try again what the letter was about; return the id of the new deployment, "" for a cleanup.

        Raises:
            ZepidError: it is refused, and the letter stays.
        """
        if letter.content.actor == CLEANUP.name:
            await self._clean_up_again(letter)
            redriven_as = ""
        else:
            redriven_as = await self._deploy_again(letter)
        await self._close(letter, redriven_as=redriven_as)
        return redriven_as

    async def discard(self, letter: Letter, reason: str) -> None:
        """Remove a letter for good; the journal keeps who did it, and why."""
        await self._close(letter, reason=reason)

    async def _close(self, letter: Letter, reason: str = "", redriven_as: str = "") -> None:
        closed = LetterClosed(
            deployment_id=letter.content.deployment_id,
            actor=letter.content.actor,
            at=time.time(),
            sequence=letter.sequence,
            by=self._request.caller.token_name,
            reason=reason,
            redriven_as=redriven_as,
        )
        await self._ports.bus.record(closed, "", copy=str(letter.sequence))
        await self._letters.remove(letter.sequence)

    async def _deploy_again(self, letter: Letter) -> str:
        """Record a new deployment of the dead one's snapshot; doing it twice makes one."""
        dead = await self._failed(letter.content.deployment_id)
        new_id = f"deploy_{await self._name_for(letter)}"
        if dead.newer not in (None, new_id):
            raise ZepidError(
                "OUTCOME_ALREADY_DECIDED",
                f"The project went on to {dead.newer}, which is live: discard the letter, or put the older source live"
                f" all the same with `zepid retry {dead.id}`",
            )
        wanted = Wanted(
            id=new_id,
            project_id=dead.project_id,
            organization_id=dead.organization_id,
            user_id=dead.user_id,
            retry_of=dead.id,
            is_limited=False,
        )
        return (await accept(self._request, "/status/dlq/{sequence}/redrive", wanted)).deployment_id

    async def _failed(self, deployment_id: str) -> Origin:
        dead = (await self._ports.deployments.origins([deployment_id])).get(deployment_id)
        if dead is None:
            raise ZepidError(
                "NOT_FOUND", f"No deployment {deployment_id} is recorded; the letter can only be discarded"
            )
        if dead.outcome is None:
            raise ZepidError("DEPLOYMENT_IN_PROGRESS", f"Deployment {dead.id} has not ended yet")
        if dead.outcome != "failed":
            raise ZepidError(
                "OUTCOME_ALREADY_DECIDED",
                f"Deployment {dead.id} has ended as {dead.outcome}, so there is nothing to redrive; discard the letter",
            )
        return dead

    async def _name_for(self, letter: Letter) -> str:
        """Return what names the new deployment: the letter's place in the stream of this making."""
        created = await self._letters.created()
        return blake3(f"{created.isoformat()} {letter.sequence}".encode()).hexdigest(length=16)

    async def _clean_up_again(self, letter: Letter) -> None:
        """Queue the cleanup again, as an issue that nobody has published yet."""
        dead = letter.command
        if dead is None:
            raise ZepidError("INVALID_REQUEST", "The cleanup command in the letter can't be read; discard the letter")
        bus = self._ports.bus
        subject = subjects.event(dead.deployment_id, "reconciler", "reissued")
        journal = [decode_event(stored.data) for stored in await bus.history(subjects.EVENT_STREAM, subject)]
        issues = [event.next.issue for event in journal if isinstance(event, Reissued) and event.next.step == dead.step]
        made = dead.attempts.get(dead.step, 0) + letter.content.deliveries
        again = msgspec.structs.replace(
            dead,
            issue=1 + max(dead.issue, *issues, 0),
            attempts={**dead.attempts, dead.step: made},
            interruptions=0,
        )
        await bus.send(again, "")
