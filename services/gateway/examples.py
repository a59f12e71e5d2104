"""Examples for the OpenAPI document, made from the schemas: a value for each well-known name, else for its type."""

from typing import Any

from services.gateway.errors import MEANINGS
from shared.times import iso_time

_MOMENT = 1_767_225_600.0
_LATER = 4_070_908_800.0
_ID = "deploy_9f86d081884c4d659a2feaa0c55ad015"
_DIGEST = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
_DEEPEST = 6
_KNOWN: dict[str, Any] = {
    "deploymentId": _ID, "id": _ID, "newDeploymentId": _ID, "retryOf": _ID, "supersededId": _ID,
    "projectId": "my-site-x1y2z3", "projectName": "My site", "name": "My site", "workerName": "my-site-x1y2z3",
    "orgId": "acme", "organizationId": "acme", "userId": "ada", "tokenName": "ci", "pausedBy": "ada",
    "status": "completed", "stage": "cleanup", "currentStep": "cleanup", "step": "build", "actor": "build",
    "progress": 100, "message": "Deployment initiated successfully", "error": "", "success": True,
    "workerUrl": "https://my-site-x1y2z3.example.com", "url": "https://my-site-x1y2z3.example.com",
    "snapshotId": "snap_5d41402abc4b2a76b9719d911017c592", "releaseId": "rel_7d793037a0760186574b0282f2f435e7",
    "digest": _DIGEST, "reason": "max_retries_exceeded", "version": "2.0.0", "scopes": ["deploy"],
    "hostname": "shop.example.com", "code": "BUILD_TYPE_ERROR", "class": "user", "level": "info", "stream": "stdout",
}  # fmt: skip

_TITLES = {
    400: "Validation Error", 401: "Unauthorized", 403: "Forbidden", 404: "NOT_FOUND", 409: "Deployment in progress",
    413: "PAYLOAD_TOO_LARGE", 422: "IDEMPOTENCY_KEY_REUSED", 429: "Too Many Requests", 503: "SERVICE_UNAVAILABLE",
}  # fmt: skip


def example_of(schema: dict[str, Any], schemas: dict[str, Any], media_type: str = "application/json") -> Any:
    """Return a value that fits a schema of the document."""
    if media_type.startswith("text/event-stream"):
        return "id: 12\nevent: status\ndata: {}\n\n"
    return _value(schema, schemas, "", 0)


def error_example(status: int) -> dict[str, Any]:
    """Return an error answer as callers get it with this status."""
    body = {
        "success": False,
        "error": _TITLES.get(status, "INTERNAL_ERROR"),
        "message": MEANINGS[status],
        "timestamp": iso_time(_MOMENT),
    }
    return body | {"requestId": "0f8fad5b-d9cb-469f-a165-70867728950e"}


def _value(schema: dict[str, Any], schemas: dict[str, Any], name: str, depth: int) -> Any:
    if "$ref" in schema:
        return _value(schemas[schema["$ref"].rpartition("/")[2]], schemas, name, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("oneOf", "anyOf", "allOf"):
        if key in schema:
            return _value(_most_telling(schema[key]), schemas, name, depth)
    kind = schema.get("type", "object")
    kind = kind if isinstance(kind, str) else next(word for word in kind if word != "null")
    if name in _KNOWN and _is_of(kind, _KNOWN[name]):
        return _KNOWN[name]
    return _of_type(kind, schema, schemas, name, depth)


def _most_telling(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return next((choice for choice in choices if choice.get("type") != "null"), choices[0])


def _is_of(kind: str, value: Any) -> bool:
    return isinstance(
        value, {"string": str, "integer": int, "number": int, "boolean": bool, "array": list}.get(kind, ())
    )


def _of_type(kind: str, schema: dict[str, Any], schemas: dict[str, Any], name: str, depth: int) -> Any:
    match kind:
        case "object":
            if depth > _DEEPEST:
                return {}
            properties = schema.get("properties", {})
            return {key: _value(part, schemas, key, depth + 1) for key, part in properties.items()}
        case "array":
            return (
                [_value(schema["items"], schemas, name, depth + 1)] if schema.get("items") and depth < _DEEPEST else []
            )
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case "null":
            return None
    if name == "expiresAt":
        return iso_time(_LATER)
    if schema.get("format") == "date-time" or name.endswith(("At", "timestamp")):
        return iso_time(_MOMENT)
    return _DIGEST if "digest" in name.lower() else "text"
