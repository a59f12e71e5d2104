"""The built output: found, streamed into blobs, named by one manifest."""

import posixpath

import msgspec

from services.steps.build.attempt import Attempt, Finished
from services.steps.build.diagnosis import last_words
from shared.assets import asset_tree
from shared.blobs import store_manifest
from shared.contracts.errors import ZepidError
from shared.hosting import STATIC, WorkerScript
from shared.ports import Manifest
from shared.stored_files import Collected, store_files

OUTPUT_FOLDERS = (
    *("dist", "build", "out", ".output/public", ".vercel/output/static", "_site", "public", "www"),
    *("storybook-static", ".vitepress/dist", "docs/.vitepress/dist"),
)
"""Where builds leave their output, in the order they are looked for."""

_SERVER_FOLDER = ".next"
_PAGES_WORKER = "_worker.js"
"""How Cloudflare Pages calls a Worker, and wrangler refuses to deploy it as a file."""
_SERVED_PARTS = ("browser", "client")


async def built_files(attempt: Attempt, built: Finished) -> Manifest:
    """Store the files that the build left; return which.

    Args:
        attempt: the build.
        built: the command that ended well; where it left no site, its last lines are the excerpt.

    Raises:
        ZepidError: BUILD_NO_OUTPUT, BUILD_OUTPUT_INVALID; what sandbox and object store raise.
    """
    find = _named_output if attempt.plan.output else _detected_output
    collected = await find(attempt, last_words(built.lines, attempt.plan))
    files, size = len(collected.manifest.files), collected.manifest.total_bytes
    attempt.say(f"stored {files:,} files, {size / 1e6:.2f} MB ({collected.new:,} new)")
    return collected.manifest


def static_files(attempt: Attempt) -> Manifest:
    """Name the files of a site that needs no build; no byte is copied.

    Of a whole source, hidden files (`.npmrc`, `.github/…`) are left out; `.well-known` stays.
    """
    folder = attempt.in_root(attempt.plan.output or ".")
    manifest = below(attempt.source, folder)
    if attempt.plan.output in ("", "."):
        shown = {path: entry for path, entry in manifest.files.items() if not _hidden(path)}
        if hidden := len(manifest.files) - len(shown):
            attempt.say(f"{hidden} hidden files are not released")
        manifest = Manifest(shown)
    if not manifest.files:
        raise ZepidError("BUILD_NO_OUTPUT", f"there is no file to release in {folder}")
    attempt.say(f"nothing to build: {len(manifest.files):,} files, {manifest.total_bytes / 1e6:.2f} MB")
    return manifest


async def store_release(attempt: Attempt, files: Manifest, worker: WorkerScript | None) -> str:
    """Store the manifest of a release: its files, its Worker, and how they are served; return its digest.

    Raises:
        ZepidError: BUILD_OUTPUT_INVALID, there is a `_worker.js` among the files, which all the world could read.
    """
    objects, hosting = attempt.ports.objects, attempt.plan.hosting
    if any(path.split("/")[0] == _PAGES_WORKER for path in files.files):
        assets = await asset_tree(files, objects)
        if path := next((path for path in assets.files if path.split("/")[0] == _PAGES_WORKER), None):
            message = f"{path} is among the files of the site, where everybody can read it"
            hint = "name the script as `main` in wrangler.jsonc, and list it in .assetsignore"
            raise ZepidError("BUILD_OUTPUT_INVALID", f"{message}; {hint}", file=path)
    if worker is not None:
        hosting = msgspec.structs.replace(hosting or STATIC, worker=worker)
    return await store_manifest(objects, Manifest(files.files, hosting))


def below(manifest: Manifest, folder: str) -> Manifest:
    """Return the part of a tree below a folder, its paths relative to it."""
    if folder == ".":
        return manifest
    prefix = f"{folder}/"
    files = {path[len(prefix) :]: entry for path, entry in manifest.files.items() if path.startswith(prefix)}
    return Manifest(files)


def served_part(manifest: Manifest) -> Manifest | None:
    """Return the part of an output that has the index.html, or None.

    Besides the folder itself: `browser` and `client` in it, and the same in its only folder
    (`dist/<name>/browser` of Angular).
    """
    folders = {path.split("/")[0] for path in manifest.files if "/" in path}
    only = folders.pop() if len(folders) == 1 else "."
    for folder in (".", only):
        for part in (".", *_SERVED_PARTS):
            candidate = posixpath.normpath(posixpath.join(folder, part))
            if posixpath.normpath(posixpath.join(candidate, "index.html")) in manifest.files:
                return below(manifest, candidate)
    return None


async def _named_output(attempt: Attempt, said: str) -> Collected:
    plan, ports = attempt.plan, attempt.ports
    folder = attempt.in_root(plan.output)
    if not await ports.sandboxes.folders(attempt.sandbox, ports.fence, [folder]):
        message = f"the output directory {plan.output!r} has no file after `{plan.build}`"
        raise ZepidError("BUILD_NO_OUTPUT", message, excerpt=said)
    return await _collect(attempt, folder)


async def _detected_output(attempt: Attempt, said: str) -> Collected:
    ports = attempt.ports
    candidates = [attempt.in_root(folder) for folder in OUTPUT_FOLDERS]
    found = await ports.sandboxes.folders(attempt.sandbox, ports.fence, candidates)
    pageless = []
    for folder in found:
        collected = await _collect(attempt, folder)
        if _same_files(collected.manifest, below(attempt.source, folder)):
            continue
        if part := served_part(collected.manifest):
            attempt.say(f"output found in {folder}")
            return collected._replace(manifest=part)
        pageless.append(folder)
    raise await _no_output(attempt, pageless, said)


async def _no_output(attempt: Attempt, pageless: list[str], said: str) -> ZepidError:
    message = f"`{attempt.plan.build}` ended well, but left no site: "
    if pageless:
        message += f"{', '.join(pageless)} has no index.html; "
    message += f"looked for an index.html in {', '.join(OUTPUT_FOLDERS)}"
    server = attempt.in_root(_SERVER_FOLDER)
    if await attempt.ports.sandboxes.folders(attempt.sandbox, attempt.ports.fence, [server]):
        message += "; Next.js built a server: set `output: 'export'` in its configuration to get a site"
    return ZepidError("BUILD_NO_OUTPUT", message, excerpt=said)


async def _collect(attempt: Attempt, folder: str) -> Collected:
    ports = attempt.ports
    return await store_files(ports.objects, ports.sandboxes.collect(attempt.sandbox, ports.fence, folder))


def _same_files(output: Manifest, source: Manifest) -> bool:
    return {path: entry.digest for path, entry in output.files.items()} == {
        path: entry.digest for path, entry in source.files.items()
    }


def _hidden(path: str) -> bool:
    return any(segment.startswith(".") and segment != ".well-known" for segment in path.split("/"))
