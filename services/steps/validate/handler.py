"""The validate step: project, source and settings are usable; makes the build plan."""

import msgspec

from services.steps.validate.git import fetch_source
from services.steps.validate.plan import describe, files_to_read, make_plan
from services.steps.validate.tree import Tree
from shared.blobs import file_above, load, load_manifest, safe_path
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan, Command
from shared.contracts.outcomes import Done, Outcome
from shared.ports import DeploymentRecord, Manifest, Ports
from shared.source_rules import MAX_FILE_BYTES, MAX_FILES


async def handle(command: Command, ports: Ports) -> Outcome:
    """Check what is to be deployed and decide how it is built.

    Raises:
        ZepidError: PROJECT_NOT_FOUND, PROJECT_INACTIVE, SOURCE_MISSING, SOURCE_INVALID, SOURCE_GIT_…,
            BUILD_PLAN_INVALID, BUILD_SCRIPT_MISSING, BUILD_NO_OUTPUT, STORAGE_READ_FAILED, WORKER_RUNTIME_MISSING.
    """
    record = await _deployable(command, ports)
    source = await _source(command, record, ports)
    manifest = await load_manifest(ports.objects, source)
    check_tree(manifest)
    plan = await _plan(manifest, record.settings, ports)
    if plan.worker:
        await ports.publishers[command.work.target].prepare_workers()
    for warning in plan.warnings:
        ports.log.write("system", warning, level="warn")
    ports.log.write("system", describe(plan))
    return Done(msgspec.structs.replace(command.work, source=source, plan=plan), describe(plan))


async def _deployable(command: Command, ports: Ports) -> DeploymentRecord:
    record = await ports.records.deployment(command.deployment_id)
    if record is None:
        raise ZepidError("PROJECT_NOT_FOUND", f"the deployment's project {command.project_id} is gone")
    if not record.project_active:
        raise ZepidError("PROJECT_INACTIVE", f"project {command.project_id} is not active")
    if command.work.target not in ports.settings.targets:
        raise ZepidError("DEPLOYMENT_VALIDATION_FAILED", f"the target {command.work.target} is not set up here")
    return record


async def _source(command: Command, record: DeploymentRecord, ports: Ports) -> str:
    """Return the digest of the source's manifest, fetched if it is yet to be; the log says where it comes from."""
    source, origin = command.work.source or record.source, record.origin
    if not source and origin.type == "git":
        source, origin = await fetch_source(command, ports, origin)
    for warning in origin.warnings:
        ports.log.write("system", warning, level="warn")
    if not source:
        raise ZepidError("SOURCE_MISSING", f"project {command.project_id} has no source to deploy")
    ports.log.write("system", origin.describe())
    return source


async def _plan(manifest: Manifest, settings: dict[str, str], ports: Ports) -> BuildPlan:
    tree = Tree(manifest.files)
    texts = {
        path: await load(ports.objects, manifest.files[path].digest, path) for path in files_to_read(tree, settings)
    }
    return make_plan(Tree(manifest.files, texts), settings)


def check_tree(manifest: Manifest) -> None:
    """Refuse a tree that cannot be written as files.

    Raises:
        ZepidError: SOURCE_MISSING, SOURCE_INVALID; the message names the path.
    """
    files = manifest.files
    if not files:
        raise ZepidError("SOURCE_MISSING", "the source has no file")
    if len(files) > MAX_FILES:
        raise ZepidError("SOURCE_INVALID", f"the source has {len(files):,} files; {MAX_FILES:,} is the limit")
    for path, entry in files.items():
        if folder := file_above(safe_path(path), files):
            raise ZepidError("SOURCE_INVALID", f"{folder!r} is both a file and a folder of the source", file=path)
        if entry.size > MAX_FILE_BYTES:
            size = entry.size / 2**20
            raise ZepidError("SOURCE_INVALID", f"{path} has {size:.1f} MiB; 25 MiB is the limit", file=path)
