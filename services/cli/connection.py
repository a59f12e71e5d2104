"""Where the server is and with which token to speak to it.

Looked up in this order: options, ZEPID_URL and ZEPID_TOKEN, the nearest `.zepid/client.json` in the
folder or above it, the user's own file, which `zepid up` and `zepid login` write so that every folder works.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from services.cli.errors import NoConnection

_FILE_NAME = "client.json"
_DATA_DIR_NAME = ".zepid"


class Connection(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A server and the token for it."""

    url: str
    token: str
    organization_id: str = ""
    user_id: str = ""


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for what the command remembers between runs."""
    base = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "zepid"


def save_connection(data_dir: Path, connection: Connection, environ: Mapping[str, str] = os.environ) -> None:
    """Let commands find this server: from folders around `data_dir`, and as the user's latest.

    Both files are readable by their owner only.
    """
    _write(data_dir, connection)
    remember_connection(connection, environ)


def remember_connection(connection: Connection, environ: Mapping[str, str] = os.environ) -> Path:
    """Make this server the user's latest, for folders that know no other; return the file."""
    return _write(state_dir(environ), connection)


def _write(folder: Path, connection: Connection) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / _FILE_NAME, msgspec.json.encode(connection))
    return folder / _FILE_NAME


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one step; only its owner may read it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    draft.replace(path)


def find_connection(
    url: str | None = None,
    token: str | None = None,
    folder: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Connection:
    """Return the server to use; a saved token is used only for the server it was saved with.

    Args:
        url: the `--url` option.
        token: the `--token` option.
        folder: where to look for the nearest file; the current folder by default.
        environ: ZEPID_URL, ZEPID_TOKEN, ZEPID_ORG (for tokens of every organisation), XDG_STATE_HOME.

    Raises:
        NoConnection: none is known, or a file that names one is unusable.
    """
    url = (url or environ.get("ZEPID_URL") or "").rstrip("/")
    token = token or environ.get("ZEPID_TOKEN") or ""
    saved = None if url and token else _saved(url, folder or Path.cwd(), environ)
    if saved is None and not url:
        raise NoConnection(
            "No Zepid server is known here. Start one with `zepid up`, or set ZEPID_URL and ZEPID_TOKEN."
        )
    found = saved or Connection(url=url, token=token)
    return Connection(
        url=found.url,
        token=token or found.token,
        organization_id=environ.get("ZEPID_ORG") or found.organization_id,
        user_id=found.user_id,
    )


def read_connection(data_dir: Path) -> Connection | None:
    """Return what `save_connection` wrote to a data folder, None if nothing.

    Raises:
        NoConnection: others could have planted or read the file, or it is damaged.
    """
    path = data_dir / _FILE_NAME
    if not path.is_file():
        return None
    facts = path.stat()
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise NoConnection(
            f"{path} is not private to you, so `zepid up` did not write it for you. "
            "Delete it, or set ZEPID_URL and ZEPID_TOKEN."
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=Connection)
    except msgspec.DecodeError as error:
        raise NoConnection(f"{path} is damaged ({error}). Delete it and run `zepid up` again.") from None


def _saved(url: str, folder: Path, environ: Mapping[str, str]) -> Connection | None:
    """Return the nearest saved connection, to `url` if one is given."""
    absolute = folder.resolve()
    for place in (*(parent / _DATA_DIR_NAME for parent in (absolute, *absolute.parents)), state_dir(environ)):
        saved = read_connection(place)
        if saved and (not url or saved.url.rstrip("/") == url):
            return saved
    return None
