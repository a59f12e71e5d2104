"""Which project a folder was last deployed to, per server; kept outside the folder."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from services.cli.connection import state_dir, write_private


class Remembered(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A folder's project on one server."""

    url: str
    folder: str
    project_id: str


def recall(url: str, folder: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the id of the folder's project on the server, or None when it has not been deployed."""
    try:
        data = _file(url, folder, environ).read_bytes()
        return msgspec.json.decode(data, type=Remembered).project_id
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def remember(url: str, folder: Path, project_id: str, environ: Mapping[str, str] = os.environ) -> None:
    """Keep the id of the folder's project on the server."""
    file = _file(url, folder, environ)
    file.parent.mkdir(parents=True, exist_ok=True)
    entry = Remembered(url=url, folder=str(folder.resolve()), project_id=project_id)
    write_private(file, msgspec.json.encode(entry))


def _file(url: str, folder: Path, environ: Mapping[str, str]) -> Path:
    key = f"{url.rstrip('/')}\n{folder.resolve()}".encode(errors="surrogateescape")
    return state_dir(environ) / "projects" / f"{hashlib.sha256(key).hexdigest()[:32]}.json"
