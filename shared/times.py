"""Moments as callers see them: ISO 8601, UTC, milliseconds."""

from datetime import UTC, datetime


def iso_time(seconds: float) -> str:
    """Return seconds since 1970 as text, e.g. `2026-01-01T00:00:00.000Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
