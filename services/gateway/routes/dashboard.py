"""The dashboard: one page without data of its own; it asks the routes with the token that is typed into it."""

from pathlib import Path

from litestar import Response, get

from services.gateway.auth import PUBLIC

_PAGE = (Path(__file__).parents[1] / "dashboard.html").read_bytes()
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
}


@get("/dashboard", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def dashboard() -> Response[bytes]:
    """Return the page."""
    return Response(_PAGE, media_type="text/html; charset=utf-8", headers=_HEADERS)


HANDLERS = [dashboard]
