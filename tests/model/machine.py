"""The life cycle under random interleavings: rules are what may happen, invariants what must stay true."""

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.adapters.postgres.acceptance import Order
from shared.conclusion import interrupt
from shared.contracts import subjects
from shared.contracts.errors import ZepidError
from shared.contracts.events import Ended
from shared.lifecycle import violations
from shared.pipeline import STEPS
from shared.resources import Resources
from tests.model.database import PROJECTS, QUOTA, SETTINGS, Database
from tests.model.fate import Fate
from tests.model.world import Plan, Process, World

_LONGEST_DRAIN = 8

picks = st.integers(0, 5)
moments = st.integers(1, 5)
unharmed = st.just(("none", 0))
fates = unharmed | st.tuples(st.sampled_from(["before", "after", "pause"]), moments)
plans = st.builds(
    Plan,
    answer=st.sampled_from(["done", "done", "done", "done", "retry", "retry", "reject", "back", "back", "unseen"]),
    slow=st.booleans(),
    stopped=st.sampled_from([False, False, False, True]),
)
services = st.sampled_from(["intake", "reconciler", "dead-letter", "sweep", "projector"])
disasters = st.sampled_from(
    [
        "broker restart",
        "duplicate window",
        "queue deleted",
        "queue purged",
        "deadline",
        "advisories lost",
        "database crash",
        "garbage",
    ]
)


class LifeCycle(RuleBasedStateMachine):
    """The real worker, settlement, intake, reconciler, dead letters and SQL, over a simulated broker."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.world = World(database)
        self.accepted: list[str] = []
        self.before: dict[str, Any] = self.world.database.look()
        self.excused: set[str] = set()

    # What people ask for

    @initialize(projects=st.lists(st.sampled_from(sorted(PROJECTS)), min_size=1, max_size=3))
    def begin(self, projects: list[str]) -> None:
        for project in projects:
            self.accept(project, supersede=False, again=None, fate=("none", 0))

    @rule(project=st.sampled_from(sorted(PROJECTS)), supersede=st.booleans(), again=st.none() | picks, fate=fates)
    def accept(self, project: str, supersede: bool, again: int | None, fate: tuple[str, int]) -> None:
        """The gateway records a deployment, or a retry of an ended one, and wakes intake."""
        new = f"deploy_{len(self.accepted)}"
        self.accepted.append(new)
        ended = [row["id"] for row in self.before["deployments"] if row["project_id"] == project and row["outcome"]]
        failure = ZepidError("CANCELLED", "superseded").failure("validate")

        async def gateway(resources: Resources) -> None:
            verdict = await resources.deployments.accept(
                Order(
                    id=new,
                    project_id=project,
                    organization_id=PROJECTS[project],
                    user_id="u",
                    priority=5,
                    target="local",
                    snapshot_id=None,
                    traceparent="",
                    max_waiting=SETTINGS.max_waiting_per_organization,
                    retry_of=ended[again % len(ended)] if ended and again is not None else None,
                    superseding=failure if supersede else None,
                )
            )
            if verdict.superseded_id is not None:
                await self._interrupt(resources, verdict.superseded_id, failure)
            await self.world.admit(resources)

        self._start("gateway", gateway, fate)

    @rule(pick=picks, heard=st.booleans(), fate=fates)
    def cancel(self, pick: int, heard: bool, fate: tuple[str, int]) -> None:
        known = [row["id"] for row in self.before["deployments"]]
        if known:
            self.world.stops_are_heard = heard
            failure = ZepidError("CANCELLED", "on request").failure("validate")
            chosen = known[pick % len(known)]
            self._start("gateway", lambda resources: self._interrupt(resources, chosen, failure), fate)

    async def _interrupt(self, resources: Resources, deployment_id: str, failure: Any) -> None:
        await interrupt(resources.deployments, resources.bus, "gateway", deployment_id, "cancelled", failure)

    # What the services do

    @precondition(lambda self: self.world.broker.deliverable())
    @rule(orders=st.lists(st.tuples(picks, plans, fates), min_size=1, max_size=4))
    def deliver(self, orders: list[tuple[int, Plan, tuple[str, int]]]) -> None:
        """The broker delivers commands, or delivers them again: to workers that answer, die or stand still."""
        for pick, plan, fate in orders:
            if messages := self.world.broker.deliverable():
                self.world.deliver(messages[pick % len(messages)], plan, Fate(*fate))

    @precondition(lambda self: self.world.broker.deliverable())
    @rule(count=st.integers(1, 8))
    def advance(self, count: int) -> None:
        """Some commands are simply worked on."""
        for _ in range(count):
            idle = [message for message in self.world.broker.deliverable() if not message.in_flight]
            if idle:
                self.world.deliver(idle[0], Plan(), Fate())

    @rule(service=services, fate=fates, heard=st.booleans())
    def tick(self, service: str, fate: tuple[str, int], heard: bool) -> None:
        world = self.world
        world.stops_are_heard = heard
        work = {
            "intake": world.admit,
            "reconciler": world.reconcile,
            "dead-letter": world.bury_announced,
            "sweep": world.sweep,
            "projector": world.project,
        }
        self._start(service, work[service], fate)

    # What befalls processes and servers

    @precondition(lambda self: self.world.paused)
    @rule(pick=picks, how=st.sampled_from(["go on", "go on late", "die", "shut down"]))
    def wake(self, pick: int, how: str) -> None:
        """A process that stood still is continued, within its lease or beyond, killed, or asked to stop."""
        process = self.world.paused[pick % len(self.world.paused)]
        if how == "die":
            self.world.kill(process)
        elif how == "shut down" and process.worker is not None:
            self.world.hand_back(process)
        else:
            if how == "go on late":
                process.lapse()
            self.world.resume(process)

    @rule(disaster=disasters, pick=picks)
    def befall(self, disaster: str, pick: int) -> None:
        broker, chosen = self.world.broker, self.accepted[pick % len(self.accepted)]
        match disaster:
            case "broker restart":
                broker.restart()
            case "duplicate window":
                broker.pass_duplicate_window()
            case "queue deleted":
                broker.delete_queue()
                self.world.excused = True
            case "queue purged":
                broker.purge_queue()
                self.world.excused = True
            case "advisories lost":
                broker.loses_advisories = not broker.loses_advisories
            case "deadline":
                self.world.database.pass_deadline(chosen)
            case "garbage":
                subject = subjects.command(STEPS[pick].name, chosen)
                broker.store(subject, b"{", {"Nats-Msg-Id": f"garbage.{subject}"})
            case "database crash" if self.world.crash_database():
                self.before = {**self.before, "deployments": []}
                self.world.excused = True

    # What must stay true

    @invariant()
    def holds(self) -> None:
        now = self.world.database.look()
        before, self.before = self.before, now
        assert not violations(before["deployments"], now["deployments"])
        assert not self.world.defects
        self._check_commands(now)
        self._check_limits(now)
        self._check_events(now)
        self._check_sites(now)
        self._check_quota(now)
        self._check_progress(before, now)

    def _check_commands(self, now: dict[str, Any]) -> None:
        """What runs has a command in the queue, unless that was lost with the queue or before it got there."""
        running = {row["id"] for row in now["deployments"] if row["admitted_at"] and not row["outcome"]}
        if self.world.excused:
            self.world.excused = False
            self.excused |= running
        queued = {
            subjects.deployment_in_command(message.subject) for message in self.world.broker.queue.messages.values()
        }
        assert running <= queued | self.excused, "a command was acknowledged before what follows it was published"

    def _check_limits(self, now: dict[str, Any]) -> None:
        running = [row for row in now["deployments"] if row["admitted_at"] and not row["freed_at"]]
        assert len(running) <= SETTINGS.max_concurrent_deployments
        by_organization = Counter(row["organization_id"] for row in running)
        assert max(by_organization.values(), default=0) <= SETTINGS.max_concurrent_per_organization

    def _check_events(self, now: dict[str, Any]) -> None:
        outcomes = {row["id"]: row["outcome"] for row in now["deployments"]}
        for _, event in self.world.broker.journal():
            if isinstance(event, Ended):
                assert event.outcome == outcomes[event.deployment_id], "an ended event that the row denies"

    def _check_sites(self, now: dict[str, Any]) -> None:
        deployments = {row["id"]: row for row in now["deployments"]}
        releases = {row["id"]: deployments[row["deployment_id"]] for row in now["releases"]}
        assert len({row["deployment_id"] for row in now["releases"]}) == len(releases)
        for site in now["sites"]:
            done = [
                row
                for row in now["deployments"]
                if row["project_id"] == site["project_id"] and row["outcome"] == "completed"
            ]
            newest = max(done, key=lambda row: row["ended_at"])["release_id"] if done else None
            if site["confirmed"]:
                assert site["release_id"] == newest, "the pointer names another release than the newest completed"
            elif site["release_id"] is not None:
                assert releases[site["release_id"]]["outcome"] is None, "an unconfirmed pointer was left behind"
                assert site["previous_release_id"] == newest
            else:
                assert newest is None

    def _check_quota(self, now: dict[str, Any]) -> None:
        outcomes = {row["id"]: row for row in now["deployments"]}
        spent = [entry for entry in now["ledger"] if entry["settled"] != "returned"]
        assert now["quota"] == QUOTA - len(spent), "the ledger and the plan disagree"
        for entry in now["ledger"]:
            row = outcomes[entry["deployment_id"]]
            failure = row["failure"] or {}
            committed = row["outcome"] == "completed" or (row["outcome"] == "failed" and failure["class"] == "user")
            settled = ("committed" if committed else "returned") if row["outcome"] else None
            assert entry["settled"] == settled

    def _check_progress(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        shown = {row["deployment_id"]: row for row in now["progress"]}
        for row in before["progress"]:
            later = shown[row["deployment_id"]]
            assert later["progress"] >= row["progress"]
            if row["finished"]:
                told = ("finished", "outcome", "failure", "url", "progress", "finished_at")
                assert {name: row[name] for name in told} == {name: later[name] for name in told}

    # The end of an example

    def teardown(self) -> None:
        """Without further faults everything ends."""
        world = self.world
        world.broker.loses_advisories, world.stops_are_heard = False, True
        while world.paused:
            world.resume(world.paused[0])
            self.holds()
        for _ in range(_LONGEST_DRAIN):
            self._drain()
            self.holds()
            if self._is_quiet():
                break
        assert self._is_quiet(), f"stuck: {self.before['deployments']}, {self.before['progress']}, {world.broker.queue}"
        self._check_letters()

    def _drain(self) -> None:
        world = self.world
        self._start("intake", world.admit, ("none", 0))
        while messages := world.broker.deliverable():
            for message in messages:
                if message.sequence in world.broker.queue.messages:
                    world.deliver(message, Plan(), Fate())
        for work in (world.bury_announced, world.sweep):
            self._start("dead-letter", work, ("none", 0))
        self._start("projector", world.project, ("none", 0))
        if not self._is_over():
            self._start("reconciler", world.reconcile, ("none", 0))
            self._start("projector", world.project, ("none", 0))

    def _is_over(self) -> bool:
        self.before = self.world.database.look()
        return self._is_quiet()

    def _is_quiet(self) -> bool:
        shown = {row["deployment_id"]: row for row in self.before["progress"]}
        rows = self.before["deployments"]
        return not self.world.broker.queue.messages and all(
            row["freed_at"]
            and shown.get(row["id"], {}).get("finished")
            and shown[row["id"]]["outcome"] == row["outcome"]
            for row in rows
        )

    def _check_letters(self) -> None:
        outcomes = {row["id"]: row["outcome"] for row in self.before["deployments"]}
        for message in self.world.broker.streams[SETTINGS.deployment_dlq_name].messages.values():
            _, _, _, deployment_id = message.subject.split(".")
            assert outcomes.get(deployment_id, "unknown"), "a dead letter of a deployment without an outcome"

    def _start(self, name: str, work: Any, fate: tuple[str, int]) -> Process:
        return self.world.start(name, work, Fate(*fate))
