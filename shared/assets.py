"""Which files of a release are static assets, and the rules that lie beside them."""

from typing import NamedTuple

import pathspec

from shared.blobs import load
from shared.contracts.errors import ZepidError
from shared.ports import Entry, Manifest, Objects

HEADERS = "_headers"
REDIRECTS = "_redirects"
IGNORE = ".assetsignore"


class AssetTree(NamedTuple):
    """The files that are served, by path; the texts of `_headers` and `_redirects`, None where there is none."""

    files: dict[str, Entry]
    headers: str | None
    redirects: str | None


async def asset_tree(manifest: Manifest, objects: Objects) -> AssetTree:
    """Sort the files of a release: `.assetsignore`, `_headers` and `_redirects` at the top are rules, not assets.

    Raises:
        ZepidError: BUILD_OUTPUT_INVALID when a rule file is no UTF-8 text; STORAGE_READ_FAILED.
    """
    ignored = await _text(manifest, objects, IGNORE) or ""
    own = (f"/{IGNORE}", f"/{REDIRECTS}", f"/{HEADERS}")
    spec = pathspec.GitIgnoreSpec.from_lines([*own, *ignored.split("\n")])
    files = {path: entry for path, entry in manifest.files.items() if not spec.match_file(path)}
    return AssetTree(files, await _text(manifest, objects, HEADERS), await _text(manifest, objects, REDIRECTS))


async def _text(manifest: Manifest, objects: Objects, path: str) -> str | None:
    entry = manifest.files.get(path)
    if entry is None:
        return None
    try:
        return (await load(objects, entry.digest, path)).decode()
    except UnicodeDecodeError:
        raise ZepidError("BUILD_OUTPUT_INVALID", f"{path} is not UTF-8 text", file=path) from None
