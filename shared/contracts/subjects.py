"""Every subject and stream name; no other file builds one by hand."""

QUEUE_STREAM = "deployment-queue"
EVENT_STREAM = "deployment-events"
LOG_STREAM = "deployment-logs"
ADVISORY_STREAM = "deployment-advisories"
DEAD_LETTER_STREAM = "deployment-dlq"

ALL_EVENTS = "deployment.event.*.*.*"
ALL_LOGS = "deployment.log.*.*"
ALL_DEAD_LETTERS = "deployment.dlq.*.*"
CLEANED_EVENTS = "deployment.event.*.cleanup.succeeded"
"""The events that free a slot: the sandbox is dead."""
REFUSED_EVENTS = "deployment.event.*.*.refused"
"""The events of results that came too late, and so of lines that came after the log had been archived."""
STOP_REQUESTS = "deployment.control.*.stop"
KEYS_CHANGED = "gateway.control.keys-changed"
"""The core (not stored) subject on which gateways hear that an API key was revoked or has a new token."""

ALIVE = "deployment.alive.*.*"
"""Core (not stored): each running service says every few seconds that it lives."""


def alive(service: str, instance: str) -> str:
    """The core subject on which one instance of a service says that it lives."""
    return f"deployment.alive.{service}.{instance}"


def command(actor: str, deployment_id: str) -> str:
    """The subject an actor is ordered to work on a deployment at."""
    return f"deployment.queue.{actor}.{deployment_id}"


def commands_for(actor: str) -> str:
    """The filter of an actor's consumer."""
    return f"deployment.queue.{actor}.*"


def commands_of(deployment_id: str) -> str:
    """The filter of everything queued for one deployment."""
    return f"deployment.queue.*.{deployment_id}"


def event(deployment_id: str, actor: str, kind: str) -> str:
    """The subject of one kind of event of one deployment."""
    return f"deployment.event.{deployment_id}.{actor}.{kind}"


def events_of(deployment_id: str) -> str:
    """The filter of everything that happened to one deployment."""
    return f"deployment.event.{deployment_id}.*.*"


def ended(deployment_id: str) -> str:
    """The filter of the event that says how a deployment ended, whoever decided it."""
    return f"deployment.event.{deployment_id}.*.ended"


def log(deployment_id: str, step: str) -> str:
    """The subject of one step's log chunks."""
    return f"deployment.log.{deployment_id}.{step}"


def logs_of(deployment_id: str) -> str:
    """The filter of all log chunks of one deployment."""
    return f"deployment.log.{deployment_id}.*"


def dead_letter(actor: str, deployment_id: str) -> str:
    """The subject of a dead letter."""
    return f"deployment.dlq.{actor}.{deployment_id}"


def stop(deployment_id: str) -> str:
    """The core (not stored) subject on which a running worker is told to stop."""
    return f"deployment.control.{deployment_id}.stop"


def deployment_in(subject: str) -> str:
    """Return the deployment id in an event, log or control subject."""
    return subject.split(".")[2]


def max_deliveries_advisories(queue_stream: str) -> str:
    """The broker's advisories that a command used up its deliveries."""
    return f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{queue_stream}.*"


def terminated_advisories(queue_stream: str) -> str:
    """The broker's advisories that a command was terminated."""
    return f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{queue_stream}.*"


def actor_in_command(subject: str) -> str:
    """Return the actor in a command's subject."""
    return subject.split(".")[2]


def deployment_in_command(subject: str) -> str:
    """Return the deployment id in a command's subject."""
    return subject.split(".")[3]
