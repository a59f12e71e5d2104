"""How the platform's identity provider and its session endpoint are asked."""

from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from shared.client.transport import is_loopback

_ANSWER_SECONDS = 3.0


def client_for(url: str) -> httpx.AsyncClient:
    """Return a client that waits 3 seconds at most, follows no redirect, and never keeps a cookie of an answer."""
    return httpx.AsyncClient(
        timeout=_ANSWER_SECONDS,
        verify=httpx.URL(url).scheme != "http",
        trust_env=not is_loopback(url),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )
