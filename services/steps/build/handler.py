"""The build step: reset to the synced tree, install, build, store the output; the exit code alone decides."""

import msgspec

from services.steps.build.attempt import Attempt, Finished
from services.steps.build.inputs import build_key, earlier_artifact
from services.steps.build.install import PNPM, QUIET, provide_dependencies, verbosity
from services.steps.build.output import built_files, static_files, store_release
from services.steps.build.redirect import follow_redirect
from services.steps.build.worker import make_worker
from shared.blobs import load_manifest
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan, Command
from shared.contracts.outcomes import Back, Done, Outcome
from shared.ports import Manifest, Ports

BUILD_ENV = {
    **QUIET,
    **PNPM,
    "NODE_ENV": "production",
    "ASTRO_TELEMETRY_DISABLED": "1",
    "NEXT_TELEMETRY_DISABLED": "1",
}
"""What builds see besides the project's own variables, which win."""


async def handle(command: Command, ports: Ports) -> Outcome:
    """Build the synced source to an artifact; without a sandbox, go back and make one.

    Raises:
        ZepidError: BUILD_… with the tool's own words; what sandbox and object store raise.
    """
    try:
        return await _build(command, ports)
    except ZepidError as error:
        if error.code.name != "SANDBOX_CONNECT_FAILED":
            raise
        return Back("sandbox", error.failure(command.step))


async def _build(command: Command, ports: Ports) -> Done:
    attempt = await _prepare(command, ports)
    try:
        return await _built(attempt)
    except ZepidError as error:
        raise attempt.hide_variables(error) from None


async def _built(attempt: Attempt) -> Done:
    command, ports = attempt.command, attempt.ports
    if _is_static(attempt.plan):
        return _done(command, await store_release(attempt, static_files(attempt), None), "nothing to build")
    key = build_key(attempt, await ports.sandboxes.toolchain())
    went_back = command.epoch > 0  # something was lost: trust nothing that was made earlier
    afresh = went_back or command.work.debug
    if not afresh and (artifact := await earlier_artifact(ports.objects, key)):
        attempt.say("nothing changed since an earlier build: releasing its output again")
        return _done(command, artifact, "unchanged: an earlier build is released again")
    await ports.sandboxes.reset(attempt.sandbox, ports.fence)
    await provide_dependencies(attempt)
    built = await _run_build(attempt) if attempt.plan.build else None
    if built:
        attempt = await follow_redirect(attempt)
    files = await _files(attempt, built)
    worker = await make_worker(attempt, attempt.plan.worker) if attempt.plan.worker else None
    artifact = await store_release(attempt, files, worker)
    if not (built and built.exit.used_network):
        await ports.objects.put(key, artifact.encode())
    return _done(command, artifact, "built")


async def _prepare(command: Command, ports: Ports) -> Attempt:
    if command.work.plan is None:
        raise ZepidError("QUEUE_PROCESSING_FAILED", "the build command carries no build plan")
    source = await load_manifest(ports.objects, command.work.source)
    variables = await ports.records.build_variables(command.deployment_id)
    return Attempt(command, ports, command.work.plan, source, variables)


async def _files(attempt: Attempt, built: Finished | None) -> Manifest:
    """Return the files to serve: those of the build, if there was one."""
    if not attempt.plan.has_site:
        return Manifest({})
    return await built_files(attempt, built) if built else static_files(attempt)


async def _run_build(attempt: Attempt) -> Finished:
    env = {**BUILD_ENV, **verbosity(attempt), **attempt.variables}
    finished = await attempt.run("build", attempt.plan.build, attempt.plan.root, env)
    if finished.failed:
        raise attempt.error(finished)
    attempt.say(f"built in {finished.seconds:.1f} s")
    return finished


def _is_static(plan: BuildPlan) -> bool:
    return plan.manager == "none" and not plan.build and plan.worker is None


def _done(command: Command, artifact: str, detail: str) -> Done:
    return Done(msgspec.structs.replace(command.work, artifact=artifact), detail)
