"""The sync step: the exact bytes and modes of the source into the sandbox."""

from shared.blobs import load_manifest
from shared.contracts.errors import ZepidError
from shared.contracts.messages import Command
from shared.contracts.outcomes import Back, Done, Outcome
from shared.ports import Ports


async def handle(command: Command, ports: Ports) -> Outcome:
    """Write the source tree into the sandbox; without a sandbox, go back and make one.

    Raises:
        ZepidError: STORAGE_READ_FAILED when the source is incomplete, SANDBOX_FENCED.
    """
    manifest = await load_manifest(ports.objects, command.work.source)
    try:
        await ports.sandboxes.write(command.work.sandbox, ports.fence, manifest, ports.objects)
    except ZepidError as error:
        if error.code.name != "SANDBOX_CONNECT_FAILED":
            raise
        return Back("sandbox", error.failure(command.step))
    summary = f"{len(manifest.files):,} files, {manifest.total_bytes / 1e6:.2f} MB"
    ports.log.write("system", f"source synced: {summary}")
    return Done(command.work, summary)
