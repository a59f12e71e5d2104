"""The load: owners who deploy their projects again and again, through HTTP, whatever breaks."""

import asyncio
import time
from dataclasses import dataclass, field

from services.cli.benches.chaos.api import Api, Body, GaveUp, succeeded
from services.cli.benches.chaos.orders import Order, Plan, source_of
from shared.client.answers import ENDED

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 0.5
_UPLOAD_ROUNDS = 50


@dataclass(slots=True)
class Sent:
    """A deployment that the service has accepted.

    Attributes:
        at: when the owner knew, seconds since 1970.
        called_off: its owner cancelled or superseded it.
        shown: the last status that HTTP showed once it had ended, "" before.
    """

    order: Order
    at: float
    called_off: bool = False
    shown: str = ""


@dataclass(slots=True)
class Load:
    """All owners together.

    Attributes:
        sent: accepted deployments by id.
        lost_answers: acceptances known only from the 409 that the repeated request got.
        all_posted: set when the last order has been accepted.
        complaints: what no client should see.
    """

    api: Api
    plans: list[Plan]
    sent: dict[str, Sent] = field(default_factory=dict)
    lost_answers: int = 0
    all_posted: asyncio.Event = field(default_factory=asyncio.Event)
    complaints: list[str] = field(default_factory=list)
    _posted: int = 0

    @property
    def total(self) -> int:
        """How many orders there are."""
        return sum(len(plan.orders) for plan in self.plans)

    @property
    def ended(self) -> int:
        """How many owners have seen the end of."""
        return sum(bool(sent.shown) for sent in self.sent.values())

    async def run(self) -> None:
        """Let every owner work through the plan; returns when all have seen the end of everything."""
        await asyncio.gather(*(self._own(plan) for plan in self.plans))

    async def _own(self, plan: Plan) -> None:
        try:
            body = {"name": plan.name, "orgId": plan.organization}
            project = (await self.api.post("/projects", body))["project"]
            await _Owner(self, plan, project).work()
        except GaveUp as error:
            self.complaints.append(f"{plan.name}: {error}")
            self.all_posted.set()

    def accept(self, deployment_id: str, order: Order) -> None:
        """Note an acceptance."""
        self.sent[deployment_id] = Sent(order, time.time())
        self._posted += 1
        if self._posted == self.total:
            self.all_posted.set()


@dataclass(slots=True)
class _Owner:
    load: Load
    plan: Plan
    project: Body

    async def work(self) -> None:
        """One deployment after the other, but for those that replace the one before."""
        running = ""
        watched: list[str] = []
        for order in self.plan.orders:
            snapshot = await self._upload(order)
            if running and not order.supersedes:
                await self._until_ended(running)
            await asyncio.sleep(order.pause)
            before, running = running, await self._deploy(order, snapshot)
            if before and order.supersedes:
                self.load.sent[before].called_off = True
                watched.append(before)
            if order.cancelled_after is not None:
                await asyncio.sleep(order.cancelled_after)
                await self._cancel(running)
        for deployment_id in (*watched, running):
            await self._until_ended(deployment_id)

    async def _upload(self, order: Order) -> str:
        """Bring the order's tree to the service; return the snapshot's id."""
        manifest, contents = source_of(order)
        for _ in range(_UPLOAD_ROUNDS):
            state = await self.load.api.post(f"/projects/{self.project['id']}/source", manifest)
            if state.get("snapshotId"):
                return str(state["snapshotId"])
            for digest in state["missing"]:
                await self.load.api.put(f"/blobs/{digest}?orgId={self.plan.organization}", contents[digest])
        raise GaveUp(f"the source of {order.marker} was still incomplete after {_UPLOAD_ROUNDS} uploads")

    async def _deploy(self, order: Order, snapshot: str) -> str:
        """Post until accepted; a 409 that names a deployment we do not know tells of our own lost answer."""
        body: Body = {
            "projectId": self.project["id"],
            "orgId": self.plan.organization,
            "userId": "chaos",
            "source": {"type": "snapshot", "id": snapshot},
        }
        if order.supersedes:
            body["supersede"] = True
        while True:
            status, answer = await self.load.api.ask("POST", "/deploy", json=body)
            deployment_id = str(answer.get("deploymentId", ""))
            if status == 409 and deployment_id in self.load.sent:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if status == 409 and deployment_id:
                self.load.lost_answers += 1
            else:
                succeeded("POST /deploy", (status, answer))
            self.load.accept(deployment_id, order)
            return deployment_id

    async def _cancel(self, deployment_id: str) -> None:
        """Cancel; it may have ended before."""
        self.load.sent[deployment_id].called_off = True
        answer = await self.load.api.ask("POST", f"/deploy/{deployment_id}/cancel")
        if answer[0] != 409:
            succeeded("POST /deploy/{id}/cancel", answer)

    async def _until_ended(self, deployment_id: str) -> None:
        sent = self.load.sent[deployment_id]
        while sent.shown not in ENDED:
            status = (await self.load.api.get(f"/deploy/{deployment_id}/status"))["status"]
            if status in ENDED:
                sent.shown = status
            else:
                await asyncio.sleep(_LOOK_SECONDS)
