"""The audit log, written in one place: every request that was to change something and whose caller is known.

What is recorded of it are ids: those in its path, and those in its body and its answer that are listed here. So no
secret can come in, whatever a route takes or gives.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from litestar.types import Message, Scope

from services.gateway.access.caller import Caller
from services.gateway.access.ledger import Ledger
from services.gateway.request_id import request_id
from shared.adapters.postgres.audit import AuditEntry, entry_id

READING = frozenset({"GET", "HEAD", "OPTIONS"})
_IDS = ("projectId", "orgId", "userId", "releaseId", "snapshotId", "deploymentId", "newDeploymentId", "supersededId")
_THINGS = ("project", "token", "release", "webhook", "domain")
"""Objects in an answer whose `id` is recorded."""
_ID = re.compile(r"[\w.:@+\-]{1,200}")
_STATUS = "audit_status"
_GIVEN = "audit_given"
_OWNER = "audit_owner"
_LARGEST_ANSWER = 64 * 1024

BeforeSend = Callable[[Message, Scope], Awaitable[None]]


def record_writes(ledger: Ledger) -> BeforeSend:
    """Return the `before_send` hook that notes each such request when it is answered, refused ones too."""

    async def note(message: Message, scope: Scope) -> None:
        caller = scope.get("auth")
        if not isinstance(caller, Caller) or _only_asks(scope):
            return
        if message["type"] == "http.response.start":
            scope["state"][_STATUS] = message["status"]
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            ledger.note(_entry(scope, caller, message["body"]))

    return note


def note_given(scope: Scope, body: Any) -> None:
    """Keep the ids that a request's JSON body names, once."""
    if _GIVEN not in scope["state"]:
        scope["state"][_GIVEN] = _ids_in(body)


def note_owner(scope: Scope, organization_id: str) -> None:
    """Keep whose thing a request is about, for callers who act for every organisation."""
    scope["state"][_OWNER] = organization_id


def _entry(scope: Any, caller: Caller, answer: bytes) -> AuditEntry:
    state, now = scope["state"], time.time()
    path_ids = {_camel(name): text for name, value in scope["path_params"].items() if _ID.fullmatch(text := str(value))}
    subjects = {**state.get(_GIVEN, {}), **_ids_answered(answer, state[_STATUS]), **path_ids}
    return AuditEntry(
        id=entry_id(now),
        at=now,
        organization_id=caller.organization_id or state.get(_OWNER) or subjects.get("orgId"),
        actor=caller.actor,
        user_id=caller.user_id,
        action=f"{scope['method']} {scope['path_template']}",
        subjects=subjects,
        status=state[_STATUS],
        request_id=request_id(scope),
    )


def _only_asks(scope: Any) -> bool:
    """Whether a request changes nothing: by its method, or as the first version's form of asking for a status."""
    return scope["method"] in READING or (scope["path"] == "/deploy" and b"instanceId=" in scope["query_string"])


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _ids_answered(answer: bytes, status: int) -> dict[str, str]:
    if status >= 400 or len(answer) > _LARGEST_ANSWER:
        return {}
    try:
        return _ids_in(msgspec.json.decode(answer))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _ids_in(body: Any) -> dict[str, str]:
    if not isinstance(body, Mapping):
        return {}
    named = {name: body[name] for name in _IDS if name in body}
    for name in _THINGS:
        if name in body and isinstance(thing := body[name], Mapping):
            named[f"{name}Id"] = thing.get("id")
    return {name: value for name, value in named.items() if isinstance(value, str) and _ID.fullmatch(value)}
