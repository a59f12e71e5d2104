"""Deploy: insert the release, see it answer at its own address, switch the site, see it live."""

import time

import msgspec

from shared.blobs import first_missing, key_of, load_manifest
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.contracts.outcomes import Back, Done, Outcome, Reject
from shared.ports import DeploymentRecord, Ports, Publisher


async def handle(command: Command, ports: Ports) -> Outcome:
    """Put the built output live; until the switch, and after a failure, the old release serves."""
    publisher = _publisher(command, ports)
    deployment = await _deployment(command, ports)
    try:
        release = await _insert(command, ports)
    except _FilesLost as lost:
        return Back("build", lost.failure(command.step))
    await _see(publisher, publisher.release_url(deployment.site, release), release, ports)
    answer = await ports.records.point_to(deployment.id, release)
    if answer != "pointed":
        return Reject(_refused(answer, release).failure(command.step))
    url = publisher.public_url(deployment.site)
    try:
        await publisher.publish(deployment.site, release)
        await _see(publisher, url, release, ports)
    except ZepidError:
        if (answer := await ports.records.point_to(deployment.id, release)) != "pointed":
            return Reject(_refused(answer, release).failure(command.step))
        raise
    ports.log.write("system", f"Live at {url}")
    work = msgspec.structs.replace(command.work, release=release, url=url)
    return Done(work, detail=f"live at {url}")


class _FilesLost(ZepidError):
    """Files of the output are gone from the object store, so it must be built again."""


async def _insert(command: Command, ports: Ports) -> str:
    """Insert the release, then make sure that its files are there: from now on they are kept.

    Files that the store had before this build belonged to nobody and may have been removed since.
    """
    artifact = command.work.artifact
    async with ports.records.keeping_blobs():
        if not await ports.objects.exists(key_of(artifact)):
            raise _lost(artifact)
        manifest = await load_manifest(ports.objects, artifact)
    release = await ports.records.insert_release(command.deployment_id, artifact, manifest)
    async with ports.records.keeping_blobs():
        if lost := await first_missing(ports.objects, manifest):
            raise _lost(lost)
    ports.log.write("system", f"Release {release}: {len(manifest.files)} files, {manifest.total_bytes / 1024:,.1f} KiB")
    return release


def _lost(digest: str) -> _FilesLost:
    return _FilesLost("STORAGE_READ_FAILED", f"a file of the output is missing from the object store (blob {digest})")


def _publisher(command: Command, ports: Ports) -> Publisher:
    target = command.work.target
    if target not in ports.publishers:
        known = ", ".join(sorted(ports.publishers))
        raise ZepidError("DEPLOYMENT_VALIDATION_FAILED", f"there is no target {target!r}; there are: {known}")
    return ports.publishers[target]


async def _deployment(command: Command, ports: Ports) -> DeploymentRecord:
    deployment = await ports.records.deployment(command.deployment_id)
    if deployment is None:
        raise ZepidError("NOT_FOUND", f"there is no deployment {command.deployment_id}")
    return deployment


async def _see(publisher: Publisher, url: str, release: str, ports: Ports) -> None:
    """Wait until an address answers as the release, and say how long it took."""
    started = time.perf_counter()
    await publisher.probe(url, release)
    ports.log.write("system", f"{url} answers as {release} ({(time.perf_counter() - started) * 1000:.0f} ms)")


def _refused(answer: str, release: str) -> ZepidError:
    match answer:
        case "locked":
            return ZepidError("PROJECT_LOCKED", f"the project is locked, so the site was not switched to {release}")
        case "overtaken":
            return ZepidError("POINTER_MOVED", f"a rollback came after the switch to {release}, and holds")
        case _:
            message = f"the site was not switched to {release}: the deployment has ended or lost its claim"
            return ZepidError("OUTCOME_ALREADY_DECIDED", message)
