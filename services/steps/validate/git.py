"""Fetching a git source: in the deployment's sandbox, because what a server answers is untrusted; then frozen."""

import msgspec

from shared.blobs import first_missing, store_manifest
from shared.contracts.errors import CODES, ZepidError
from shared.contracts.messages import Command
from shared.git.report import Assignment, Report
from shared.ports import ANY_HOST, PYTHON, Exit, Manifest, Ports, Run
from shared.source_origin import SourceOrigin, SourceTree
from shared.stored_files import store_files
from shared.telemetry import log

FETCH_SECONDS = 120.0
MAX_PACK_BYTES = 250 * 1024 * 1024
_FOLDER = "fetched"
_PROGRAM = "python -s -m shared.git"
_LAST_LINES = 10
_KILLED = 128


async def fetch_source(command: Command, ports: Ports, origin: SourceOrigin) -> tuple[str, SourceOrigin]:
    """Fetch the tree that a git ref names now; return the digest of its manifest, and what it is.

    The sandbox step finds the sandbox made. A retry of the deployment has the frozen tree, not a newer one.

    Raises:
        ZepidError: SOURCE_GIT_…, SOURCE_MISSING, SOURCE_INVALID; what sandbox and object store raise.
    """
    name = command.deployment_id
    ports.log.write("system", f"fetching {origin.url} ({origin.ref or 'default branch'})")
    await ports.sandboxes.create(name, command.organization_id)
    await ports.sandboxes.reset(name, ports.fence)
    report = await _run(name, ports, origin)
    manifest = await _stored(name, ports)
    if not manifest.files:
        raise ZepidError("SOURCE_MISSING", "the repository has no file that is ever deployed")
    fetched = msgspec.structs.replace(origin, commit=report.commit, warnings=(*origin.warnings, *report.warnings))
    tree = SourceTree(
        origin=fetched,
        manifest=await store_manifest(ports.objects, manifest),
        file_count=len(manifest.files),
        total_bytes=manifest.total_bytes,
    )
    frozen = await ports.records.freeze_source(command.deployment_id, tree)
    while await _is_incomplete(ports, manifest):
        await store_manifest(ports.objects, await _stored(name, ports))
    return frozen, fetched


async def _stored(name: str, ports: Ports) -> Manifest:
    files = ports.sandboxes.collect(name, ports.fence, _FOLDER)
    return (await store_files(ports.objects, files)).manifest


async def _is_incomplete(ports: Ports, manifest: Manifest) -> bool:
    """Whether files that the store had before, and so were not stored again, have been removed until they counted."""
    async with ports.records.keeping_blobs():
        return await first_missing(ports.objects, manifest) is not None


async def _run(name: str, ports: Ports, origin: SourceOrigin) -> Report:
    assignment = Assignment(
        url=origin.url,
        ref=origin.ref,
        folder=f"/project/{_FOLDER}",
        allowed_networks=ports.settings.git_allowed_networks,
        max_bytes=MAX_PACK_BYTES,
        seconds=int(FETCH_SECONDS),
    )
    printed: list[str] = []
    run = Run(
        _PROGRAM,
        timeout=FETCH_SECONDS,
        env={"ZEPID_GIT": msgspec.json.encode(assignment).decode()},
        hosts=ANY_HOST,
        tools=PYTHON,
    )
    ended = await ports.sandboxes.run(name, ports.fence, run, lambda stream, line: printed.append(line))
    report = _report(printed, ended)
    if report.code:
        raise ZepidError(report.code, report.message)
    return report


def _report(printed: list[str], ended: Exit) -> Report:
    """Return what the program said; what it printed is no more trusted than the server it talked to.

    Raises:
        ZepidError: it said nothing: SOURCE_GIT_TIMEOUT, SOURCE_GIT_TOO_LARGE, SANDBOX_COMMAND_FAILED.
    """
    if ended.timed_out:
        raise ZepidError("SOURCE_GIT_TIMEOUT", f"fetching the repository took longer than {FETCH_SECONDS:g} s")
    try:
        report = msgspec.json.decode(printed[-1], type=Report)
    except (IndexError, msgspec.DecodeError):
        if ended.out_of_memory or ended.code > _KILLED:
            raise ZepidError("SOURCE_GIT_TOO_LARGE", "the repository takes too much memory or time to unpack") from None
        log.warning("the program that fetches git broke", code=ended.code, printed=printed[-_LAST_LINES:])
        raise ZepidError("SANDBOX_COMMAND_FAILED", "the program that fetches the repository broke") from None
    if report.code and not (report.code in CODES and report.code.startswith("SOURCE_")):
        raise ZepidError("SOURCE_GIT_INVALID", "fetching the repository failed in a way that is not known")
    return report
