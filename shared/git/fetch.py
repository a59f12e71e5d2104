"""Fetching one commit without its history, into a repository of its own."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dulwich.client import Urllib3HttpGitClient
from dulwich.errors import ApplyDeltaError, ChecksumMismatch, GitProtocolError, HangupException, ObjectFormatException
from dulwich.object_store import DiskObjectStore
from dulwich.objects import Commit, ObjectID, Tag
from dulwich.refs import Ref
from dulwich.repo import Repo
from urllib3.exceptions import HTTPError

from shared.contracts.errors import ZepidError
from shared.git.connection import checked_connections
from shared.networks import Network

_SILENCE_SECONDS = 30.0
"""How long a server may say nothing."""
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_MOST_TAGS = 5
_REFS = (b"HEAD", b"refs/heads/", b"refs/tags/")
_UNREADABLE = (ApplyDeltaError, ChecksumMismatch, ObjectFormatException, KeyError, ValueError)
"""What reading an answer raises that is no git."""


def fetch(url: str, ref: str, folder: Path, allowed: Sequence[Network], max_bytes: int) -> tuple[Repo, Commit]:
    """Fetch the commit that a ref names now; return the repository it is in, made in `folder`, and the commit.

    Args:
        url: the server's address of the repository, checked.
        ref: branch, tag or full commit id; "" = the default branch.
        folder: where there is nothing yet.
        allowed: networks that may be asked although they are not public.
        max_bytes: of the pack, as it is sent.

    Raises:
        ZepidError: SOURCE_GIT_….
    """
    client = _Client(url, pool_manager=checked_connections(allowed), quiet=True, timeout=_SILENCE_SECONDS)
    repository = Repo.init_bare(str(folder), mkdir=True)
    try:
        wanted = _download(client, ref, repository, max_bytes)
        return repository, _commit_of(repository, wanted)
    except HTTPError as error:
        raise ZepidError("SOURCE_GIT_UNAVAILABLE", f"The git server broke off: {type(error).__name__}") from error
    except (GitProtocolError, HangupException, *_UNREADABLE) as error:
        if _COMMIT.fullmatch(ref):
            raise ZepidError("SOURCE_GIT_REF_MISSING", f"The repository does not give out a commit {ref}") from error
        raise ZepidError("SOURCE_GIT_INVALID", f"What answers there is no git server: {error}") from error


class _Client(Urllib3HttpGitClient):
    """Tells refusals and outages of a server apart."""

    def _http_request(self, url: str, *args: Any, **more: Any) -> Any:
        try:
            response, read = super()._http_request(url, *args, **{**more, "raise_for_status": False})
        except GitProtocolError as error:
            raise ZepidError("SOURCE_GIT_UNAVAILABLE", f"The git server does not answer: {error}") from error
        match response.status:
            case 200:
                return response, read
            case 401 | 403 | 407:
                message = "There is no repository at this address that may be read without a password"
                raise ZepidError("SOURCE_GIT_NOT_FOUND", message)
            case 404 | 410:
                raise ZepidError("SOURCE_GIT_NOT_FOUND", "There is no repository at this address")
            case status:
                raise ZepidError("SOURCE_GIT_UNAVAILABLE", f"The git server answered with HTTP status {status}")


def _download(client: _Client, ref: str, repository: Repo, max_bytes: int) -> ObjectID:
    """Store the pack of one commit; return the id of what the ref names."""
    wanted = ObjectID(b"")

    def choose(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
        nonlocal wanted
        if client.dumb:
            raise ZepidError("SOURCE_GIT_INVALID", "What answers there does not speak git's smart protocol")
        wanted = _named(refs, ref)
        return [wanted]

    store = repository.object_store
    assert isinstance(store, DiskObjectStore)
    file, finish, drop = store.add_pack()

    def write(data: bytes) -> int:
        if file.tell() + len(data) > max_bytes:
            raise ZepidError(
                "SOURCE_GIT_TOO_LARGE", f"The repository has more than {max_bytes >> 20} MiB in one commit"
            )
        return file.write(data)

    try:
        client.fetch_pack("", choose, repository.get_graph_walker(), write, depth=1, ref_prefix=_REFS)
    except BaseException:
        drop()
        raise
    finish()
    return wanted


def _named(refs: Mapping[Ref, ObjectID], ref: str) -> ObjectID:
    """Return the id that a ref has at the server."""
    name = ref.encode()
    for candidate in (b"refs/heads/" + name, b"refs/tags/" + name, name) if ref else (b"HEAD",):
        if found := refs.get(Ref(candidate)):
            return found
    if _COMMIT.fullmatch(ref):
        return ObjectID(name)
    if not ref:
        raise ZepidError("SOURCE_GIT_REF_MISSING", "The repository has no default branch: it is empty, or name one")
    raise ZepidError("SOURCE_GIT_REF_MISSING", f"The repository has no branch or tag {ref}")


def _commit_of(repository: Repo, wanted: ObjectID) -> Commit:
    """Return the commit that an id leads to, through annotated tags."""
    for _ in range(_MOST_TAGS):
        found = repository.object_store[wanted]
        if isinstance(found, Commit):
            return found
        if not isinstance(found, Tag):
            break
        wanted = found.object[1]
    raise ZepidError("SOURCE_GIT_REF_MISSING", "The ref names no commit")
