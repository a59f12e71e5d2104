"""A git server on loopback, by the smart HTTP protocol, with a repository that tests commit to."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ObjectID, Tag
from dulwich.refs import Ref
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

File = bytes | tuple[int, bytes]
"""Bytes, or a git mode and bytes: 0o100755, 0o120000 for a link, 0o160000 for a submodule."""


class GitServer:
    """A repository at `url`; it answers nothing while `is_away`."""

    def __init__(self, repository: Repo) -> None:
        self.repository = repository
        self.url = ""
        self.requests: list[str] = []
        self.is_away = False

    def commit(self, files: Mapping[str, File], branch: str = "main") -> str:
        """Commit a whole tree on top of a branch; return the commit's id."""
        store = self.repository.object_store
        entries = []
        for path, file in files.items():
            mode, data = file if isinstance(file, tuple) else (0o100644, file)
            blob = Blob.from_string(data)
            if mode != 0o160000:
                store.add_object(blob)
            entries.append((path.encode(), blob.id, mode))
        commit = Commit()
        commit.tree = commit_tree(store, entries)
        ref = Ref(b"refs/heads/" + branch.encode())
        commit.parents = [self.repository.refs[ref]] if ref in self.repository.refs else []
        commit.author = commit.committer = b"Ada <ada@example.com>"
        commit.author_time = commit.commit_time = 1_767_225_600
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = b"A change"
        store.add_object(commit)
        self.repository.refs[ref] = commit.id
        return commit.id.decode()

    def tag(self, name: str, commit: str) -> None:
        """Make an annotated tag."""
        tag = Tag()
        tag.name, tag.object, tag.message = name.encode(), (Commit, ObjectID(commit.encode())), b"A release"
        tag.tagger, tag.tag_time, tag.tag_timezone = b"Ada <ada@example.com>", 1_767_225_600, 0
        self.repository.object_store.add_object(tag)
        self.repository.refs[Ref(b"refs/tags/" + name.encode())] = tag.id

    def app(self, environ, start_response):
        """Answer a request; `/moved.git` redirects, `/inside` to an address that is not public."""
        path = environ["PATH_INFO"]
        self.requests.append(path)
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        if self.is_away:
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return []
        if path.startswith("/moved.git"):
            return _redirect(start_response, path.replace("/moved.git", "/site.git") + query)
        if path.startswith("/inside.git"):
            return _redirect(start_response, f"http://10.0.0.1{path}{query}")
        if path.startswith("/page"):
            start_response("200 OK", [("Content-Type", "text/html")])
            return [b"<h1>no git"]
        return self._git(environ, start_response)

    @property
    def _git(self):
        return make_wsgi_chain(DictBackend({"/site.git": self.repository}))


class _Quiet(WSGIRequestHandler):
    def log_message(self, format, *args):
        """Say nothing."""


def _redirect(start_response, location):
    start_response("301 Moved Permanently", [("Location", location), ("Content-Length", "0")])
    return []


@contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    """Serve a new repository in a folder for the length of a block."""
    repository = Repo.init_bare(str(folder), mkdir=True)
    repository.refs.set_symbolic_ref(Ref(b"HEAD"), Ref(b"refs/heads/main"))
    server = GitServer(repository)
    with make_server("127.0.0.1", 0, server.app, handler_class=_Quiet) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
            repository.close()
