"""Answers that follow from release, host, path and the encodings taken alone: made once, then sent again and again."""

from services.edge.answers import Answer
from services.edge.cache import Cache
from services.edge.files import Found, Outcome
from services.edge.releases import Release
from services.edge.request import Request

MEMORY_BYTES = 32 << 20
LARGEST_BYTES = 64 << 10
"""Larger files cost more to send than to prepare."""
_ANSWER_BYTES = 2000
_DECIDING = frozenset((b"range", b"if-range", b"if-none-match", b"authorization"))
"""Headers on which the answer depends, besides the encodings."""

Key = tuple[str, bytes, str, bytes]


class Ready:
    """Finished answers with small files; a release never changes, so they stay true."""

    def __init__(self) -> None:
        self._kept: Cache[Key, Answer] = Cache(MEMORY_BYTES, lambda answer: _ANSWER_BYTES + len(answer.body))

    def get(self, release: Release, request: Request) -> Answer | None:
        """Return the answer to the request, if it was kept."""
        key = _key(release, request)
        return self._kept.held(key) if key else None

    def keep(self, release: Release, request: Request, outcome: Outcome, answer: Answer) -> None:
        """Keep the finished answer to a request if the next one like it gets the same."""
        plain = isinstance(outcome, Found) and not outcome.fallback and not outcome.negotiated
        whole = answer.status == 200 and answer.rest is None and answer.file is None
        if plain and whole and len(answer.body) <= LARGEST_BYTES and (key := _key(release, request)):
            self._kept.keep(key, answer)


def _key(release: Release, request: Request) -> Key | None:
    """Return what the answer depends on; None where it is more than that."""
    headers = request.headers
    if request.method != "GET" or request.query or request.path_form or not headers.keys().isdisjoint(_DECIDING):
        return None
    return release.id, headers.get(b"host", b""), request.path, headers.get(b"accept-encoding", b"")
