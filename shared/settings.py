"""Every setting, read once from the environment and checked; a wrong value stops the service."""

import base64
import binascii
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared.networks import Network, networks_of

Positive = Annotated[int, Meta(gt=0)]
Port = Annotated[int, Meta(ge=0, le=65535)]
StreamName = Annotated[str, Meta(pattern=r"^[\w-]{1,64}$")]
NatsUrls = Annotated[str, Meta(pattern=r"^\s*(nats|tls|wss?)://\S+(\s*,\s*(nats|tls|wss?)://\S+)*\s*$")]
PostgresUrl = Annotated[str, Meta(pattern=r"^postgres(ql)?://")]
ObjectStoreUrl = Annotated[str, Meta(pattern=r"^(file://|s3://|memory:)")]
SitePattern = Annotated[str, Meta(pattern=r"^https?://.*\{site\}")]
Address = Annotated[str, Meta(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$")]
Origins = Annotated[str, Meta(pattern=r"^(\s*https?://[^\s,/]+\s*(,|$))*$")]
Url = Annotated[str, Meta(pattern="^(https?://[^ ]+)?$")]
Claim = Annotated[str, Meta(min_length=1)]
Scopes = Annotated[str, Meta(pattern="^((read|deploy|admin)([ ,]+|$))*$")]
_PUBLIC_KEY_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)


_DNS_PORT = 53
_ENCRYPTION_KEY_BYTES = 32
_SECRET = frozenset({"encryption_keys", "cloudflare_api_token", "nats_url", "postgres_url", "object_store_url"})
"""Settings whose value no message may show."""


_OWN_STREAMS = ("deployment-events", "deployment-logs", "deployment-advisories")


class InvalidSettings(Exception):
    """A setting is missing or wrong; the message is one line that names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings; each is the environment variable of the same name in capitals.

    Attributes:
        nats_url: broker, may carry user and password; the servers of a cluster are separated by commas.
        postgres_url: database DSN.
        object_store_url: `file:///path` or `s3://bucket-prefix?...`; buckets are folders below it.
        data_dir: folder for sandboxes and caches of this host.
        max_concurrent_deployments: deployments in the pipeline at a time, over all organisations.
        max_concurrent_per_organization: deployments of one organisation in the pipeline at a time.
        max_waiting_per_organization: deployments of one organisation that may wait; more are answered with 429.
        deploy_rate_limit: deployments of one project that are accepted from one user in a window.
        deploy_rate_window: that window, in seconds.
        max_waiting_time: milliseconds a deployment may wait for admission.
        max_deployment_timeout: milliseconds from admission to the deadline.
        max_batch_size: messages fetched in one poll.
        max_batch_timeout: upper bound of one poll in seconds; a waiting message is handled at once.
        max_retries: tries of a step after the first.
        deployment_queue_name, deployment_dlq_name: streams of commands and of dead letters.
        event_retention_days: how long the journal is kept; longer than any deployment waits and runs.
        log_retention_hours: how long log chunks are kept for the archiver.
        dead_letter_retention_days: how long dead letters can be redriven.
        edge_url: public address pattern of sites with `{site}` in it.
        allowed_origins: browser origins that may call the API, separated by commas.
        earlier_assets_seconds: how long hashed files of a release stay reachable after it was replaced.
        jwt_issuer: issuer of the JWTs that are accepted; with `jwt_audience` and `jwks_url`, or none of them.
        jwt_audience: the audience that a JWT must name.
        jwks_url: where the issuer publishes its keys.
        jwt_algorithms: signature algorithms that count, separated by commas; of public keys only.
        jwt_leeway: seconds by which clocks may differ.
        jwt_user_claim: the claim, or path of claims separated by dots, that names the user.
        jwt_organization_claim: likewise the one organisation that the user acts for.
        jwt_scope_claim: likewise what it may do, of `read`, `deploy`, `admin`; others are ignored.
        jwt_scopes: what it may do where there is no such claim; by default nothing.
        session_url: the platform's endpoint that tells whose session a cookie is; "" = cookies do not count.
        session_cookie: name of that cookie.
        session_user_claim, session_organization_claim, session_scope_claim: as of JWTs, in its answer.
        session_scopes: what a session may do where the answer does not say.
        session_kept_seconds: how long an answer is believed, so how long a session may outlive its end.
        retention_days: days after which what a deployment left is removed, unless its release is kept.
        retention_releases: releases of a project that are kept however old they are.
        retention_interval: seconds between two cleanups by the reconciler; 0 for none.
        blob_grace: seconds for which a file that nothing refers to is left alone.
        storage_high_water: percent of the disk of a local object store above which no deployment is accepted.
        edge_address: host:port at which the edge itself listens, for probes.
        worker_idle_seconds: without a request after which the process of a Worker ends.
        worker_cpu_seconds: processor time that a Worker may use without a sign of life; then it is killed.
        workers_at_once: Workers that one edge runs side by side.
        workers_per_organization: of these, Workers of one organisation.
        worker_allowed_networks: networks such as `10.1.0.0/16`, separated by commas, that Workers may reach besides
            public addresses.
        sandbox_memory: MiB that one command of a build may have with all that it starts.
        sandbox_threads: threads that it may have.
        sandbox_allowed_networks: networks such as `10.1.0.0/16`, separated by commas, that installs and builds may
            reach besides public addresses and the registry of the host's own npm settings.
        build_allowed_hosts: names of hosts that builds may reach, separated by commas, `*.example.com` for those below
            one, `*` for every public one; by default builds have no network.
        git_allowed_networks: networks such as `10.1.0.0/16`, separated by commas, whose git servers may be asked
            besides public ones, without encryption, too.
        templates_dir: folder with the platform's project templates, `<template type>.json` each.
        encryption_keys: Fernet keys for secrets at rest, separated by commas; the first encrypts, all decrypt.
        dns_servers: `address` or `address:port`, separated by commas, for domains; by default those of the host.
        cloudflare_account_id: account of the target `cloudflare`.
        cloudflare_api_token: API token with the permission to edit Workers scripts.
        cloudflare_zone_id: zone of custom host names; "" = none can be made.
        cloudflare_url: public address pattern of sites on Cloudflare with `{site}` in it; "" = there is no such target.
        cloudflare_api_url: the API itself.
        dispatch_namespace_name: Workers for Platforms namespace; "" = scripts of the account itself.
        webhook_timeout: milliseconds an endpoint has to answer.
        webhook_allowed_networks: networks such as `10.1.0.0/16`, separated by commas, that webhooks may reach besides
            public addresses, without encryption, too.
        webhook_disabled_after_days: a webhook that failed for so long is switched off.
        webhook_delivery_kept_days: the delivery log reaches back so far.
        audit_kept_days: the audit log reaches back so far.
    """

    nats_url: NatsUrls = "nats://127.0.0.1:4222"
    postgres_url: PostgresUrl = "postgresql://127.0.0.1:5432/zepid"
    object_store_url: ObjectStoreUrl = "file://.zepid/objects"
    data_dir: str = ".zepid"
    environment: Literal["development", "staging", "production"] = "development"
    log_level: Literal["debug", "info", "warn", "error"] = "info"
    host: str = "127.0.0.1"
    port: Port = 3008
    edge_port: Port = 3080
    edge_url: SitePattern = "http://{site}.localhost:3080"
    edge_address: Address = "127.0.0.1:3080"
    earlier_assets_seconds: Annotated[int, Meta(ge=0)] = 86_400
    worker_idle_seconds: Annotated[float, Meta(gt=0)] = 300.0
    worker_cpu_seconds: Annotated[float, Meta(gt=0)] = 10.0
    workers_at_once: Positive = 32
    workers_per_organization: Positive = 8
    worker_allowed_networks: str = ""
    sandbox_memory: Positive = 4096
    sandbox_threads: Positive = 2000
    sandbox_allowed_networks: str = ""
    build_allowed_hosts: str = ""
    git_allowed_networks: str = ""
    templates_dir: str = ""
    allowed_origins: Origins = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwks_url: Url = ""
    jwt_algorithms: str = "RS256,ES256,EdDSA"
    jwt_leeway: Annotated[int, Meta(ge=0, le=300)] = 30
    jwt_user_claim: Claim = "sub"
    jwt_organization_claim: Claim = "org_id"
    jwt_scope_claim: str = "scope"
    jwt_scopes: Scopes = ""
    session_url: Url = ""
    session_cookie: Claim = "better-auth.session_token"
    session_user_claim: Claim = "user.id"
    session_organization_claim: Claim = "session.activeOrganizationId"
    session_scope_claim: str = ""
    session_scopes: Scopes = "deploy"
    session_kept_seconds: Annotated[float, Meta(ge=0, le=60)] = 5.0
    retention_days: Annotated[int, Meta(ge=0)] = 30
    retention_releases: Positive = 10
    retention_interval: Annotated[int, Meta(ge=0)] = 86_400
    blob_grace: Annotated[int, Meta(ge=0)] = 3_600
    storage_high_water: Annotated[int, Meta(gt=0, le=100)] = 95
    max_concurrent_deployments: Positive = 5
    max_concurrent_per_organization: Positive = 3
    max_waiting_per_organization: Positive = 25
    deploy_rate_limit: Positive = 3
    deploy_rate_window: Positive = 60
    max_waiting_time: Positive = 86_400_000
    max_deployment_timeout: Positive = 600_000
    max_batch_size: Annotated[int, Meta(gt=0, le=256)] = 10
    max_batch_timeout: Annotated[float, Meta(gt=0, le=300)] = 30.0
    max_retries: Annotated[int, Meta(ge=0, le=20)] = 3
    deployment_queue_name: StreamName = "deployment-queue"
    deployment_dlq_name: StreamName = "deployment-dlq"
    event_retention_days: Positive = 30
    log_retention_hours: Positive = 48
    dead_letter_retention_days: Positive = 14
    sandbox_builder_default_provider: Literal["local", "noop"] = "local"
    publisher: Literal["local", "noop"] = "local"
    stream_replicas: Literal[1, 3, 5] = 1
    encryption_keys: str = ""
    dns_servers: str = ""
    cloudflare_account_id: str = ""
    cloudflare_api_token: str = ""
    cloudflare_zone_id: str = ""
    cloudflare_url: str = ""
    cloudflare_api_url: str = "https://api.cloudflare.com/client/v4"
    dispatch_namespace_name: str = ""
    webhook_timeout: Positive = 15_000
    webhook_allowed_networks: str = ""
    webhook_disabled_after_days: Positive = 3
    webhook_delivery_kept_days: Positive = 30
    audit_kept_days: Positive = 90

    def __post_init__(self) -> None:
        """Refuse what only fails much later; raises ValueError."""
        if not all(map(_is_encryption_key, self.encryption_key_list)):
            raise ValueError("each key must be 32 bytes as URL-safe Base64")
        _ = self.webhook_networks, self.worker_networks, self.sandbox_networks
        _ = self.dns_server_list
        networks_of(self.git_allowed_networks)

    def as_environ(self) -> dict[str, str]:
        """Return the settings as environment variables for another process."""
        return {name.upper(): str(getattr(self, name)) for name in self.__struct_fields__}

    @property
    def nats_servers(self) -> list[str]:
        """The broker's servers; user and password of the first are those of all."""
        return [url for url in self.nats_url.replace(" ", "").split(",") if url]

    @property
    def encryption_key_list(self) -> list[str]:
        """The encryption keys, the one that encrypts first."""
        return [key for key in self.encryption_keys.replace(" ", "").split(",") if key]

    @property
    def dns_server_list(self) -> list[tuple[str, int]]:
        """Address and port of the name servers to ask about domains, [] for those of the host."""
        return [_dns_server(server) for server in self.dns_servers.replace(" ", "").split(",") if server]

    @property
    def data_path(self) -> Path:
        """The data folder, absolute."""
        return Path(self.data_dir).resolve()

    @property
    def origins(self) -> tuple[str, ...]:
        """The allowed origins as a list."""
        return tuple(origin for origin in self.allowed_origins.replace(" ", "").split(",") if origin)

    @property
    def targets(self) -> tuple[str, ...]:
        """The places where a deployment may go live."""
        return ("local", "cloudflare") if self.cloudflare_url else ("local",)

    def pattern_of(self, target: str) -> str:
        """Return the public address pattern of sites at a target; one that is not set up any more has our own."""
        return self.cloudflare_url if target == "cloudflare" and self.cloudflare_url else self.edge_url

    @property
    def webhook_networks(self) -> tuple[Network, ...]:
        """The networks that webhooks may reach although they are not public."""
        return networks_of(self.webhook_allowed_networks)

    @property
    def build_hosts(self) -> tuple[str, ...]:
        """The hosts that builds may reach."""
        return tuple(name for part in self.build_allowed_hosts.split(",") if (name := part.strip()))

    @property
    def sandbox_networks(self) -> tuple[Network, ...]:
        """The networks that installs and builds may reach although they are not public."""
        return networks_of(self.sandbox_allowed_networks)

    @property
    def worker_networks(self) -> tuple[Network, ...]:
        """The networks that Workers may reach although they are not public."""
        return networks_of(self.worker_allowed_networks)

    @property
    def jwt_algorithm_list(self) -> list[str]:
        """The accepted signature algorithms as a list."""
        return [name for name in self.jwt_algorithms.replace(" ", "").split(",") if name]

    @property
    def deadline_seconds(self) -> float:
        """How long an admitted deployment may take."""
        return self.max_deployment_timeout / 1000


def load_settings(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Read the settings from the environment; keyword arguments win.

    Raises:
        InvalidSettings: a value does not fit; the message names the variable.
    """
    given: dict[str, Any] = {
        name: environ[name.upper()] for name in Settings.__struct_fields__ if environ.get(name.upper())
    }
    given.update(overrides)
    for name, value in given.items():
        try:
            msgspec.convert({name: value}, Settings, strict=False)
        except msgspec.ValidationError as error:
            reason = str(error).split(" - at ")[0]
            shown = "…" if name in _SECRET else repr(value)
            raise InvalidSettings(f"{name.upper()}={shown} is not usable: {reason}") from None
    settings = msgspec.convert(given, Settings, strict=False)
    _check_together(settings)
    _check_tracing(environ)
    return settings


def _check_tracing(environ: Mapping[str, str]) -> None:
    """Refuse what the exporter of traces would not do, or say only when the first are lost."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        if (given := environ.get(name)) and not given.startswith(("http://", "https://")):
            raise InvalidSettings(f"{name}={given!r} is not usable: it must begin with http:// or https://")
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        if (given := environ.get(name)) and given != "http/protobuf":
            raise InvalidSettings(f"{name}={given!r} is not usable: traces are sent by http/protobuf")


def _check_access(settings: Settings) -> None:
    """Refuse what would leave open who is let in."""
    issuer = (settings.jwt_issuer, settings.jwt_audience, settings.jwks_url)
    if any(issuer) and not all(issuer):
        raise InvalidSettings("JWT_ISSUER, JWT_AUDIENCE and JWKS_URL are needed together")
    if not settings.jwt_algorithm_list or not _PUBLIC_KEY_ALGORITHMS.issuperset(settings.jwt_algorithm_list):
        raise InvalidSettings(f"JWT_ALGORITHMS must name some of {', '.join(sorted(_PUBLIC_KEY_ALGORITHMS))}")
    if settings.session_url and "*" in settings.allowed_origins:
        raise InvalidSettings("ALLOWED_ORIGINS must name every origin in full where SESSION_URL is set")


def _check_together(settings: Settings) -> None:
    """Refuse values that are usable one by one but not together."""
    names = [settings.deployment_queue_name, settings.deployment_dlq_name, *_OWN_STREAMS]
    if len(set(names)) < len(names):
        own = ", ".join(_OWN_STREAMS)
        raise InvalidSettings(f"DEPLOYMENT_QUEUE_NAME and DEPLOYMENT_DLQ_NAME must differ, also from {own}")
    longest_hours = (settings.max_waiting_time + settings.max_deployment_timeout) / 3_600_000
    if settings.event_retention_days * 24 <= longest_hours:
        raise InvalidSettings(
            f"EVENT_RETENTION_DAYS={settings.event_retention_days} is not usable: a deployment may take "
            f"{longest_hours:.0f} hours by MAX_WAITING_TIME and MAX_DEPLOYMENT_TIMEOUT"
        )
    if settings.cloudflare_url and "{site}" not in settings.cloudflare_url:
        raise InvalidSettings(f"CLOUDFLARE_URL={settings.cloudflare_url!r} is not usable: there is no {{site}} in it")
    for name in ("cloudflare_account_id", "cloudflare_api_token"):
        if settings.cloudflare_url and not getattr(settings, name):
            raise InvalidSettings(f"{name.upper()} is missing: CLOUDFLARE_URL is set")


def _dns_server(text: str) -> tuple[str, int]:
    address, colon, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    return str(ipaddress.ip_address(address)), int(port) if colon else _DNS_PORT


def _is_encryption_key(text: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(text)) == _ENCRYPTION_KEY_BYTES
    except binascii.Error:
        return False
