"""Builds that say themselves what is to be deployed: their configuration replaces the project's, as in wrangler.

The Vite plugin of Cloudflare leaves one, and so does whatever is built with it (React Router, TanStack Start).
"""

import dataclasses
import posixpath

import msgspec

from services.steps.build.attempt import Attempt
from shared.contracts.errors import ZepidError
from shared.wrangler_config import WranglerConfig, parse_config, path_from, worker_plan

_FOLDER = ".wrangler/deploy"
_NAME = "config.json"


class _Redirect(msgspec.Struct, frozen=True, rename="camel"):
    """Where the configuration lies, relative to `_FOLDER`, and which other Workers the build made."""

    config_path: str
    auxiliary_workers: tuple[msgspec.Raw, ...] = ()


async def follow_redirect(attempt: Attempt) -> Attempt:
    """Return the attempt with the plan that the build's own configuration makes; the same if it left none.

    Raises:
        ZepidError: BUILD_PLAN_INVALID, what the build left can't be followed; WORKER_RUNTIME_MISSING; what the
            sandbox raises.
    """
    found = await _read(attempt, _FOLDER, _NAME)
    if found is None:
        return attempt
    pointer = posixpath.join(_FOLDER, _NAME)
    redirect = _decoded(found, pointer)
    path = path_from(_FOLDER, redirect.config_path, f"`configPath` in {pointer}", pointer)
    text = await _read(attempt, *posixpath.split(path))
    if text is None:
        raise ZepidError("BUILD_PLAN_INVALID", f"{pointer} names {path}, which the build did not leave", file=pointer)
    attempt.say(f"deployed as {path} says, which the build made")
    if redirect.auxiliary_workers:
        attempt.say(f"{len(redirect.auxiliary_workers)} further Workers of the build are not deployed", level="warn")
    return await _following(attempt, parse_config(path, text), path)


async def _following(attempt: Attempt, config: WranglerConfig, path: str) -> Attempt:
    folder, output = posixpath.dirname(path), attempt.plan.output
    if config.assets and config.assets.directory:
        output = path_from(folder, config.assets.directory, f"`assets.directory` in {path}", path)
    worker = worker_plan(config, folder, path)
    if worker and not attempt.plan.worker:
        await attempt.ports.publishers[attempt.command.work.target].prepare_workers()
    plan = msgspec.structs.replace(attempt.plan, output=output, hosting=config.stated_hosting, worker=worker)
    return dataclasses.replace(attempt, plan=plan)


def _decoded(text: bytes, pointer: str) -> _Redirect:
    try:
        return msgspec.json.decode(text, type=_Redirect)
    except msgspec.DecodeError as error:
        raise ZepidError("BUILD_PLAN_INVALID", f"{pointer} cannot be read: {error}", file=pointer) from error


async def _read(attempt: Attempt, folder: str, name: str) -> bytes | None:
    """Return a file that the build left, None if there is none."""
    ports, folder = attempt.ports, attempt.in_root(folder)
    if not await ports.sandboxes.folders(attempt.sandbox, ports.fence, [folder]):
        return None
    files = ports.sandboxes.collect(attempt.sandbox, ports.fence, folder)
    found = [file.data async for file in files if file.path == name]
    return found[0] if found else None
