"""Deploy: insert the release, see it answer at its own address, switch the site, see it live."""

import time

import msgspec

from shared.blobs import load_manifest
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.contracts.outcomes import Done, Outcome, Reject
from shared.ports import DeploymentRecord, Ports, Publisher


async def handle(command: Command, ports: Ports) -> Outcome:
    """Put the built output live; until the switch, and after a failure, the old release serves."""
    publisher = _publisher(command, ports)
    deployment = await _deployment(command, ports)
    release = await ports.records.insert_release(deployment.id, command.work.artifact)
    await _check_files(release, command, ports)
    await _see(publisher, publisher.release_url(deployment.site, release), release, ports)
    if not await ports.records.point_to(deployment.id, release):
        return Reject(_refused(release).failure(command.step))
    await publisher.publish(deployment.site, release)
    url = publisher.public_url(deployment.site)
    await _see(publisher, url, release, ports)
    ports.log.write("system", f"Live at {url}")
    work = msgspec.structs.replace(command.work, release=release, url=url)
    return Done(work, detail=f"live at {url}")


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


async def _check_files(release: str, command: Command, ports: Ports) -> None:
    manifest = await load_manifest(ports.objects, command.work.artifact)
    size = manifest.total_bytes / 1024
    ports.log.write("system", f"Release {release}: {len(manifest.files)} files, {size:,.1f} KiB")


async def _see(publisher: Publisher, url: str, release: str, ports: Ports) -> None:
    """Wait until an address answers as the release, and say how long it took."""
    started = time.perf_counter()
    await publisher.probe(url, release)
    ports.log.write("system", f"{url} answers as {release} ({(time.perf_counter() - started) * 1000:.0f} ms)")


def _refused(release: str) -> ZepidError:
    message = f"the site was not switched to {release}: the deployment has ended or lost its claim"
    return ZepidError("OUTCOME_ALREADY_DECIDED", message)
