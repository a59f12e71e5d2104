"""The media type of a file by its name, as Cloudflare serves it.

The table (`media_types.txt`: a type, then its extensions) is that of the npm package `mime` 4 (MIT
licence), which wrangler asks too.
"""

from functools import cache
from pathlib import Path


def extension_of(path: str) -> str:
    """Return the extension without its dot; "" for `LICENSE` and for `.hidden`."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot + 1 :] if dot > 0 else ""


def media_type_of(path: str) -> str | None:
    """Return the media type, without a character set; None when the extension is unknown."""
    return _table().get(extension_of(path).lower())


def content_type_of(path: str) -> str | None:
    """Return the `Content-Type` a file is served with: text carries its character set."""
    media_type = media_type_of(path)
    return f"{media_type}; charset=utf-8" if media_type and media_type.startswith("text/") else media_type


@cache
def _table() -> dict[str, str]:
    lines = Path(__file__).with_suffix(".txt").read_text().splitlines()
    return {extension: media_type for media_type, *extensions in map(str.split, lines) for extension in extensions}
