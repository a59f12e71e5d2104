"""The edge as an ASGI application: host → site → release → file.

Four kinds of address lead to a site:
- its host, `http://my-app.localhost:3080/` (the pattern of `EDGE_URL`);
- a custom domain of its project, once the project has proved to own it;
- one release's host, `http://rel-4f1c….my-app.localhost:3080/`;
- the path form `/_sites/my-app/…` (or `/_sites/rel-4f1c….my-app/…`) on any host that is no site's,
  for tools that cannot resolve such names. Pages are sent unchanged, so `/assets/…` in them leads
  out of the prefix: to see a whole page, send the site's name as `Host` instead. All sites share
  one origin there, so browsers are told to run them sandboxed.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial as given
from urllib.parse import parse_qs

import asyncpg

from services.edge import pages
from services.edge.answers import (
    Answer,
    form_of,
    healthy,
    redirect,
    say,
    text,
)
from services.edge.file_answers import FileAnswers
from services.edge.files import Found, Moved, Outcome, Refused, resolve
from services.edge.header_rules import Change
from services.edge.header_rules import changes as header_changes
from services.edge.pages import Notice
from services.edge.queries import variables_of
from services.edge.ready import Ready
from services.edge.releases import Release, Releases
from services.edge.request import Request, read_request
from services.edge.responses import is_versioned
from services.edge.sending import send_answer
from services.edge.sites import Pointer, Sites
from services.edge.urls import decode_path
from services.edge.workers import Bindings, ClientGone, Workers, is_for_worker
from shared.adapters.publishers.addresses import Addresses, parse_name
from shared.asgi import Receive, Scope, Send
from shared.contracts.errors import ZepidError
from shared.domains import SITE_PATH
from shared.http_service import live
from shared.ports import Objects
from shared.sealing import Seal
from shared.settings import Settings
from shared.telemetry import log

HEALTH_PATH = "/_edge/health"
ASK_PATH = "/_edge/ask"
"""200 for `?domain=` that may get a certificate, else 404: for a proxy that ends TLS."""


class Edge:
    """Serves sites. One pointer is read for a request, so its answer is of one release."""

    def __init__(self, pool: asyncpg.Pool, objects: Objects, settings: Settings, seal: Seal) -> None:
        """Prepare; `objects` is the bucket of artifacts. One connection of the pool listens."""
        self._sites = Sites(pool, settings.earlier_assets_seconds)
        self._releases = Releases(pool, objects)
        self._pattern = settings.edge_url
        self._suffixes = Addresses(settings.edge_url).suffixes()
        self._files = FileAnswers(objects)
        self._ready = Ready()
        bindings = Bindings(settings.data_path, self._from_files, settings.worker_networks)
        self._workers = Workers(settings, objects, given(variables_of, pool, seal), bindings)

    async def start(self) -> None:
        """Begin to listen for switches; the server's lifespan calls it. It serves before that, too."""
        await self._sites.start()

    async def close(self) -> None:
        """Stop listening; end all Workers."""
        await self._workers.close()
        await self._sites.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop with the server."""
        if scope["type"] == "lifespan":
            return await live(receive, send, self.start, self.close)
        with suppress(ClientGone):
            await send_answer(await self._answer(scope, receive), scope, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["path"] == HEALTH_PATH:
            return healthy()
        request = read_request(scope, receive, self._suffixes)
        try:
            if scope["path"] in (ASK_PATH, SITE_PATH):
                return await self._tell_site(request, asked=scope["path"] == ASK_PATH)
            return await self._serve(request)
        except ZepidError as error:
            log.warning("the edge could not serve", site=request.name, path=request.path, error=error.message)
            return _said(pages.unavailable(error.message), request)
        except ClientGone:
            raise
        except Exception:  # noqa: BLE001 - the boundary: a defect is logged with its trace, and not shown
            log.exception("the edge failed", site=request.name, path=request.path)
            return _said(pages.defect(), request)

    async def _serve(self, request: Request) -> Answer:
        named = request.name is not None and not request.path_form
        if not named and (pointer := await self._of_domain(request.hostname)):
            return await self._from_pointer(pointer, request.at_root())
        if not request.name:
            return _said(pages.unknown_address(request.host, self._pattern), request)
        if request.unclosed:
            return redirect(Moved("/"), request).finished(None, (), request.path_form)
        site, release_id = parse_name(request.name)
        pointer = await self._sites.pointer(site)
        if pointer is None:
            return _said(pages.unknown_site(site), request)
        if release_id is not None:
            release = await self._releases.get(release_id)
            if release is None or release.site != site:
                return _said(pages.unknown_release(site, release_id), request)
            return await self._from_release(release, (), request)
        return await self._from_pointer(pointer, request)

    async def _of_domain(self, hostname: str) -> Pointer | None:
        """Return the pointer of a custom domain, None for every other host."""
        if "." not in hostname or hostname.endswith(self._suffixes) or hostname[-1].isdigit():
            return None
        return await self._sites.pointer(hostname)

    async def _tell_site(self, request: Request, *, asked: bool) -> Answer:
        """Say which site a host leads to: `asked` for a custom domain by a proxy that wants a certificate for it."""
        hostname = parse_qs(request.query.decode("latin-1")).get("domain", [""])[0] if asked else request.hostname
        pointer = await self._of_domain(hostname.lower())
        return text(pointer.site) if pointer else _said(pages.unknown_address(hostname, self._pattern), request)

    async def _from_pointer(self, pointer: Pointer, request: Request) -> Answer:
        if pointer.release is None or (current := await self._releases.get(pointer.release)) is None:
            return _said(pages.nothing_live(pointer.site), request)
        return await self._from_release(current, pointer.earlier, request)

    async def _from_release(self, release: Release, earlier: tuple[str, ...], request: Request) -> Answer:
        if not is_for_worker(release, request):
            return await self._from_files(release, earlier, request)
        if found := await self._from_earlier(earlier, request.path):
            older, _ = found
            return await self._from_files(older, (), request)
        try:
            answer = await self._workers.answer(release, request)
        except ZepidError as error:
            log.warning("a worker did not answer", site=release.site, path=request.path, error=error.message)
            notice = pages.worker_trouble(error, told=request.names_release)
            return say(notice, request).finished(release, (), request.path_form)
        return answer.of_worker(release, request.path_form)

    async def _from_files(self, release: Release, earlier: tuple[str, ...], request: Request) -> Answer:
        """Answer with the files of a release, and hashed ones of those it has replaced."""
        if ready := self._ready.get(release, request):
            return ready
        outcome = resolve(release, request)
        if outcome is None or (isinstance(outcome, Found) and outcome.fallback):
            release, outcome = await self._from_earlier(earlier, request.path) or (release, outcome)
        changes = header_changes(release.headers, request.hostname, request.path)
        answer = (await self._answer_with(outcome, release, changes, request)).finished(
            release, changes, request.path_form
        )
        self._ready.keep(release, request, outcome, answer)
        return answer

    async def _answer_with(
        self, outcome: Outcome, release: Release, changes: Sequence[Change], request: Request
    ) -> Answer:
        match outcome:
            case Found():
                return await self._files.answer(outcome, form_of(outcome, release, request, changes), request)
            case Moved():
                return redirect(outcome, request)
            case Refused():
                return say(pages.method_not_allowed(outcome.method), request)
            case None:
                return say(pages.not_found(release.site, request.path), request)

    async def _from_earlier(self, earlier: tuple[str, ...], path: str) -> tuple[Release, Found] | None:
        """Find a hashed asset for which a page loaded before the last switches still asks, and its release."""
        if not earlier or not is_versioned(name := decode_path(path)[1:]):
            return None
        older = await self._releases.earlier(earlier, name)
        return (older, Found(name, older.files[name])) if older else None


def _said(notice: Notice, request: Request) -> Answer:
    """Say something that is of no release."""
    return say(notice, request).finished(None, (), request.path_form)
