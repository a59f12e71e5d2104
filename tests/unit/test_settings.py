"""Settings: a wrong one stops a service with one line that names it; each has its effect."""

import os
import subprocess
import sys

import pytest

from shared.adapters.jetstream.provision import consumers, streams
from shared.settings import InvalidSettings, Settings, load_settings

WRONG = {
    "MAX_BATCH_SIZE": ["0", "257", "ten"],
    "MAX_BATCH_TIMEOUT": ["0", "301", "-1"],
    "MAX_RETRIES": ["-1", "21", "many"],
    "MAX_CONCURRENT_DEPLOYMENTS": ["0", "-5", "1.5"],
    "MAX_CONCURRENT_PER_ORGANIZATION": ["0"],
    "MAX_WAITING_PER_ORGANIZATION": ["0"],
    "MAX_WAITING_TIME": ["0"],
    "MAX_DEPLOYMENT_TIMEOUT": ["0", "10m"],
    "DEPLOY_RATE_LIMIT": ["0", "three"],
    "DEPLOY_RATE_WINDOW": ["0", "1m"],
    "DEPLOYMENT_QUEUE_NAME": ["a.b", "has space", "*", "deployment-events"],
    "DEPLOYMENT_DLQ_NAME": ["a>b", "deployment-queue", "deployment-logs"],
    "EVENT_RETENTION_DAYS": ["0", "1"],
    "LOG_RETENTION_HOURS": ["0"],
    "DEAD_LETTER_RETENTION_DAYS": ["0"],
    "NATS_URL": ["http://127.0.0.1", "127.0.0.1:4222"],
    "POSTGRES_URL": ["mysql://127.0.0.1/zepid"],
    "OBJECT_STORE_URL": ["ftp://bucket", "/srv/objects"],
    "SANDBOX_BUILDER_DEFAULT_PROVIDER": ["docker"],
    "STREAM_REPLICAS": ["2"],
    "ENVIRONMENT": ["prod"],
    "LOG_LEVEL": ["verbose"],
    "PORT": ["65536", "http"],
    "EDGE_URL": ["http://sites.example", "{site}.example"],
    "EDGE_ADDRESS": ["127.0.0.1", "http://127.0.0.1:3080"],
    "ALLOWED_ORIGINS": ["app.example", "https://app.example/path"],
    "OTEL_EXPORTER_OTLP_ENDPOINT": ["127.0.0.1:4318"],
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ["collector"],
    "OTEL_EXPORTER_OTLP_PROTOCOL": ["grpc"],
    "CLOUDFLARE_URL": ["https://sites.example"],
    "AUDIT_KEPT_DAYS": ["0"],
    "WEBHOOK_DELIVERY_KEPT_DAYS": ["-1"],
}
RIGHT = {
    "NATS_URL": "nats://a:4222, nats://user:secret@b:4222,tls://c:4222",
    "POSTGRES_URL": "postgres://user:secret@db/zepid",
    "OBJECT_STORE_URL": "s3://bucket/prefix?region=eu",
    "EDGE_URL": "https://{site}.example.com",
    "EDGE_ADDRESS": "[::1]:3080",
    "ALLOWED_ORIGINS": "https://app.example, http://localhost:3000",
    "DEPLOYMENT_QUEUE_NAME": "deployment-dlq",
    "DEPLOYMENT_DLQ_NAME": "deployment-queue",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "MAX_BATCH_TIMEOUT": "0.5",
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_with_one_line_that_names_the_setting(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=name) as refused:
        load_settings({name: value})
    assert "\n" not in str(refused.value)


def test_defaults_and_what_operators_write_are_usable() -> None:
    assert load_settings({}) == Settings()
    assert load_settings({**RIGHT, "MAX_RETRIES": ""}).nats_servers[2] == "tls://c:4222"
    assert load_settings(load_settings(RIGHT).as_environ()) == load_settings(RIGHT)


@pytest.mark.parametrize("name", ["NATS_URL", "POSTGRES_URL", "OBJECT_STORE_URL"])
def test_a_refused_address_does_not_tell_its_password(name: str) -> None:
    with pytest.raises(InvalidSettings, match=name) as refused:
        load_settings({name: "telnet://user:sentinel@host"})
    assert "sentinel" not in str(refused.value)


@pytest.mark.parametrize("service", ["gateway", "intake", "reconciler"])
def test_a_service_does_not_start_with_a_wrong_setting(service: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env={**os.environ, "MAX_BATCH_SIZE": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1
    assert "MAX_BATCH_SIZE" in ended.stderr


def test_cloudflare_is_asked_for_its_settings_only_when_it_is_a_target() -> None:
    assert load_settings({}).targets == ("local",)
    with pytest.raises(InvalidSettings, match="CLOUDFLARE_ACCOUNT_ID"):
        load_settings({"CLOUDFLARE_URL": "https://{site}.example.com"})


def test_names_retries_and_retention_times_are_those_of_the_streams() -> None:
    settings = load_settings(
        {
            "DEPLOYMENT_QUEUE_NAME": "q",
            "DEPLOYMENT_DLQ_NAME": "d",
            "MAX_RETRIES": "7",
            "EVENT_RETENTION_DAYS": "3",
            "LOG_RETENTION_HOURS": "5",
            "DEAD_LETTER_RETENTION_DAYS": "6",
            "STREAM_REPLICAS": "3",
        }
    )
    made = {str(stream.name): stream for stream in streams(settings)}
    assert set(made) == {"q", "d", "deployment-events", "deployment-logs", "deployment-advisories"}
    ages = [made[name].max_age for name in ("deployment-events", "deployment-logs", "d")]
    assert ages == [3 * 86_400, 5 * 3_600, 6 * 86_400]
    assert {stream.num_replicas for stream in made.values()} == {3}
    deliveries = {consumer.max_deliver for stream, consumer in consumers(settings) if stream == "q"}
    assert max(deliveries) >= 8
