"""The body of `POST /deploy`, checked field by field before anything else is looked at."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from blake3 import blake3
from litestar.exceptions import SerializationException
from msgspec import Meta

from services.gateway.bodies import whole_numbers
from services.gateway.custom_domain import FIELD, checked_hostname
from services.gateway.errors import ValidationFailed
from services.gateway.platform_tree import TemplateFault, template_files
from services.gateway.ports import GatewayRequest
from shared.contracts.errors import ZepidError

_REQUIRED = {
    "projectId": "Project ID is required",
    "orgId": "Organization ID is required",
    "userId": "User ID is required",
}
KEY_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,255}")
_EMPTY: tuple[Any, ...] = (None, "", "[]", [], {}, False)


class SnapshotSource(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot"):
    """A source tree that was uploaded before."""

    id: str


class GitSource(msgspec.Struct, frozen=True, tag_field="type", tag="git"):
    """A public repository, and a branch, tag or full commit id of it; without one its default branch."""

    url: str
    ref: str = ""


class DeployConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How to deploy.

    Attributes:
        timeout: milliseconds from the start to the deadline; the service's own limit holds if it is shorter.
        debug: build afresh even what is unchanged, and let the package manager say more.
    """

    timeout: Annotated[int, Meta(gt=0)] | None = None
    debug: bool = False

    @property
    def timeout_seconds(self) -> float | None:
        """The timeout in seconds."""
        return None if self.timeout is None else self.timeout / 1000


class DeployOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What to deploy.

    Attributes:
        project_id: the project.
        org_id: the project's organisation.
        user_id: who asks.
        priority: 1 to 10, the highest is admitted first.
        source: the tree to deploy; the project's latest by default.
        init_files: the platform's template: a list of {path, content}, or a tree of folders and files.
        history_messages: the platform's messages, as a list or as its JSON; those of type `diff` change files.
        target: where it goes live, by default as the project's settings say; `cloudflare` where the service is
            set up for it.
        config: how to deploy.
        supersede: cancel the project's present deployment instead of being refused.
        custom_domain: a domain to serve the project at; it is asked for, and served once it is proved.
    """

    project_id: Annotated[str, Meta(min_length=1)]
    org_id: Annotated[str, Meta(min_length=1)]
    user_id: Annotated[str, Meta(min_length=1)]
    priority: Annotated[int, Meta(ge=1, le=10)] = 5
    source: SnapshotSource | GitSource | None = None
    init_files: list[Any] | dict[str, Any] | None = None
    history_messages: Any = None
    target: Literal["local", "cloudflare"] | None = None
    config: DeployConfig | None = None
    supersede: bool = False
    custom_domain: str | None = None

    @property
    def brings_files(self) -> bool:
        """Whether the request itself holds the tree, in the platform's formats."""
        return any(given not in _EMPTY for given in (self.init_files, self.history_messages))


_FIELDS = msgspec.structs.fields(DeployOrder)


async def check_order(request: GatewayRequest) -> None:
    """Refuse a malformed body, so that this is said before the caller is asked for a token."""
    if "instanceId" in request.query_params:
        return
    try:
        body = await request.json()
    except SerializationException:
        raise ZepidError("INVALID_REQUEST", "The body is not valid JSON") from None
    if not isinstance(body, dict):
        raise ValidationFailed({name: [message] for name, message in _REQUIRED.items()})
    faults = faults_in(body)
    if not _KEY.fullmatch(request.headers.get(KEY_HEADER, "none")):
        faults[KEY_HEADER] = ["Must be 1 to 255 ASCII characters without spaces"]
    if faults:
        raise ValidationFailed(faults)
    if domain := body.get(FIELD):
        checked_hostname(request, domain)
    if (target := body.get("target")) is not None and target not in request.ports.settings.targets:
        raise ValidationFailed({"target": [f"The target {target} is not set up here"]})


async def body_digest(request: GatewayRequest) -> str:
    """Return a hex digest of what a request asks for; equal JSON in another spelling is the same."""
    return blake3(msgspec.json.encode(await request.json(), order="deterministic")).hexdigest()


def faults_in(body: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what is wrong with each field; fields that are not known are let pass."""
    faults = {} if _is_order(body) else _faults_by_field(body)
    if "initFiles" not in faults and (fault := _fault_of_template(body.get("initFiles"))):
        faults["initFiles"] = [fault]
    return faults


def _is_order(body: Mapping[str, Any]) -> bool:
    """Whether the body as a whole is of its type, as it nearly always is."""
    try:
        msgspec.convert(body, DeployOrder)
    except msgspec.ValidationError:
        return False
    return True


def _faults_by_field(body: Mapping[str, Any]) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    for field in _FIELDS:
        name = field.encode_name
        if name in _REQUIRED and body.get(name) in (None, ""):
            faults[name] = [_REQUIRED[name]]
        elif name in body:
            try:
                msgspec.convert(whole_numbers(body[name]), field.type)
            except msgspec.ValidationError as error:
                faults[name] = [str(error)]
    return faults


def _fault_of_template(tree: Any) -> str:
    try:
        template_files(tree or [])
    except TemplateFault as fault:
        return str(fault)
    return ""
