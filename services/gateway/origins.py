"""Which browser origins may call; CORS and the check of the session cookie agree on it."""

from collections.abc import Sequence

from litestar.config.cors import CORSConfig

from services.gateway.request_id import HEADER
from shared.settings import Settings

_LOCALHOST = r"https?://(localhost|127\.0\.0\.1|\[::1\]|[a-z0-9-]+\.localhost)(:\d+)?"
_CORS_SECONDS = 86_400


def cors_of(settings: Settings, allowed_origins: Sequence[str]) -> CORSConfig:
    """Browsers may call from the configured origins, and from localhost in development."""
    return CORSConfig(
        allow_origins=list(allowed_origins),
        allow_origin_regex=_LOCALHOST if settings.environment == "development" else None,
        allow_credentials=True,
        expose_headers=[HEADER, "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Window", "X-Next-Cursor"],
        max_age=_CORS_SECONDS,
    )
