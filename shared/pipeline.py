"""THE TABLE: the one central policy of the pipeline.

Order, shown status, progress, retries, timeouts and concurrency of every step. Consumers are
provisioned from it, workers run by it, status is computed from it, and a test compares the folders
of `services/steps` with it. A new step is a new folder there and one line here.
"""

from dataclasses import dataclass

ACK_WAIT_SECONDS = 30.0
HEARTBEAT_SECONDS = 10.0
BACKOFF_BASE_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 30.0
MAX_INTERRUPTIONS = 3
"""How often a worker may die with a step of one deployment before that is taken to be its fault."""
MAX_EPOCHS = 3
"""How often a deployment may go back to an earlier step before it is given up."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the pipeline.

    Attributes:
        name: folder in `services/steps`, durable consumer and subject token.
        status: the word `GET /deploy/{id}/status` shows while the step is the current one.
        progress: percent reached when the step has finished.
        timeout: seconds one attempt may take.
        concurrency: commands one worker process handles at a time.
        concludes: the step's success fixes the outcome `completed`.
        cleans_up: the step runs on every path, after the outcome, and frees the claim.
    """

    name: str
    status: str
    progress: int
    timeout: float
    concurrency: int
    concludes: bool = False
    cleans_up: bool = False


STEPS: tuple[Step, ...] = (
    Step("validate", "validating", 10, timeout=180, concurrency=20),
    Step("sandbox", "creating_sandbox", 25, timeout=60, concurrency=20),
    Step("sync", "syncing_files", 45, timeout=120, concurrency=10),
    Step("build", "building", 70, timeout=480, concurrency=10),
    Step("deploy", "deploying", 90, timeout=120, concurrency=20, concludes=True),
    Step("cleanup", "updating_database", 100, timeout=60, concurrency=20, cleans_up=True),
)

BY_NAME: dict[str, Step] = {step.name: step for step in STEPS}
ORDER: dict[str, int] = {step.name: position for position, step in enumerate(STEPS)}
FIRST = STEPS[0]
CLEANUP = next(step for step in STEPS if step.cleans_up)
ACTORS: tuple[str, ...] = ("intake", *BY_NAME)
"""Every reader of the queue stream, in order."""


def following(name: str) -> Step | None:
    """Return the step after `name`, or None after the last one and after the concluding one.

    The concluding step is followed by cleanup, but the outcome sends that command, not the step.
    """
    step = BY_NAME[name]
    position = ORDER[name] + 1
    return None if step.concludes or position >= len(STEPS) else STEPS[position]


def backoff_seconds(failed_deliveries: int) -> float:
    """Return the ceiling of the delay before the next try, in seconds: exponential, capped."""
    ceiling: float = BACKOFF_BASE_SECONDS * 2 ** (failed_deliveries - 1)
    return min(BACKOFF_CAP_SECONDS, ceiling)


def backoff_scale(retries: int, deadline: float) -> float:
    """Return by what to multiply the delays so that those of all steps stay under half of `deadline` seconds.

    A step that keeps failing then ends in the dead letters, with its reasons, before the deadline comes.
    """
    total = len(STEPS) * sum(backoff_seconds(number) for number in range(1, retries + 1))
    return min(1.0, deadline / 2 / total) if total else 1.0
