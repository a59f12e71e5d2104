"""Which fault explains which failure: a deployment that fails for another reason is a violation."""

from shared.contracts.errors import CODES, FailureClass

EXPLAINED: dict[str, tuple[str, ...]] = {
    "WORKER_LOST": ("kill", "pause"),
    "DEPLOYMENT_STEP_FAILED": ("kill", "nats", "postgres", "connections", "disk"),
    "STEP_TIMEOUT": ("nats", "postgres", "pause"),
    "SERVICE_UNAVAILABLE": ("postgres", "connections", "nats"),
    "QUEUE_SEND_FAILED": ("nats", "connections", "queue"),
    "QUEUE_PROCESSING_FAILED": ("nats", "connections", "queue"),
    "STORAGE_READ_FAILED": ("disk",),
    "STORAGE_WRITE_FAILED": ("disk",),
    "SANDBOX_CREATE_FAILED": ("kill",),
    "SANDBOX_CONNECT_FAILED": ("kill", "pause"),
    "SANDBOX_COMMAND_FAILED": ("kill", "pause"),
    "PUBLISH_FAILED": ("kill", "postgres", "connections"),
    "BUILD_REGISTRY_UNAVAILABLE": ("kill",),
}
"""Code of a failure → faults that may cause it. Each is over within a minute, so no deadline is explained by one."""


def explanation(code: str, struck: set[str]) -> tuple[str, ...]:
    """Return the faults of a run that explain a failure; none is a defect of the service."""
    if code in CODES and CODES[code].failure_class is FailureClass.USER:
        return ()
    return tuple(name for name in EXPLAINED.get(code, ()) if name in struck)
