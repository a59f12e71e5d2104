"""The script of a Worker: its modules made one by esbuild as wrangler does it, or taken as they are."""

import asyncio
import posixpath
import shlex
import zlib

from services.steps.build.attempt import Attempt
from shared.blobs import load
from shared.contracts.errors import ZepidError
from shared.contracts.messages import WorkerPlan
from shared.hosting import Module, WorkerScript
from shared.ports import BUNDLER, Manifest
from shared.stored_files import store_files

MOST_BYTES = 10_000_000
"""Of a compressed script, as on Cloudflare."""
FOLDER = ".zepid-worker"
"""Where the script is put together, at the top of the project."""
TYPES = {
    ".js": "application/javascript+module",
    ".mjs": "application/javascript+module",
    ".cjs": "application/javascript",
    ".wasm": "application/wasm",
    ".bin": "application/octet-stream",
    ".txt": "text/plain",
    ".html": "text/plain",
    ".sql": "text/plain",
}
_NODE = "nodejs_compat"
_BUILTINS = (
    *("assert", "async_hooks", "buffer", "child_process", "console", "constants", "crypto", "dns", "events", "fs"),
    *("http", "https", "module", "net", "os", "path", "perf_hooks", "process", "punycode", "querystring", "readline"),
    *("stream", "string_decoder", "sys", "timers", "tls", "tty", "url", "util", "v8", "vm", "worker_threads", "zlib"),
)
_OPTIONS = (
    *("--bundle", "--format=esm", "--target=es2024", "--platform=browser", "--main-fields=browser,module,main"),
    *("--conditions=workerd,worker,browser", "--external:cloudflare:*", "--external:node:*", "--external:workerd:*"),
    *("--loader:.js=jsx", "--loader:.mjs=jsx", "--loader:.cjs=jsx"),
    *("--loader:.txt=text", "--loader:.html=text", "--loader:.sql=text", "--loader:.wasm=copy", "--loader:.bin=copy"),
    *('--define:process.env.NODE_ENV="production"', '--define:navigator.userAgent="Cloudflare-Workers"'),
    *("--entry-names=worker", "--log-limit=20", "--color=false"),
)
_REQUIRE = 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire("/");'
"""With it `require` of what node brings works in a module."""


async def make_worker(attempt: Attempt, plan: WorkerPlan) -> WorkerScript:
    """Make the script in the sandbox, without network and variables; store its modules.

    Raises:
        ZepidError: BUILD_… with esbuild's own words; BUILD_OUTPUT_INVALID, it is too large; what sandbox and
            object store raise.
    """
    shell = _bundling(attempt, plan) if plan.bundle else _copying(attempt, plan)
    finished = await attempt.run("build", shell, attempt.plan.root, {}, BUNDLER)
    if finished.failed:
        raise attempt.error(finished)
    ports = attempt.ports
    collected = await store_files(ports.objects, ports.sandboxes.collect(attempt.sandbox, ports.fence, FOLDER))
    main = "worker.js" if plan.bundle else posixpath.basename(plan.entry)
    if main not in collected.manifest.files:
        raise ZepidError("BUILD_NO_OUTPUT", f"the Worker {plan.entry} is not there after `{attempt.plan.build}`")
    size = await _compressed_bytes(attempt, collected.manifest)
    attempt.say(f"Worker {plan.entry}: {len(collected.manifest.files)} modules, {size / 1000:,.1f} kB compressed")
    if size > MOST_BYTES:
        message = (
            f"the Worker {plan.entry} has {size / 1e6:.1f} MB when compressed; {MOST_BYTES // 10**6} MB is the limit"
        )
        raise ZepidError("BUILD_OUTPUT_INVALID", message, file=plan.entry)
    return WorkerScript(main, _modules(collected.manifest), plan.variables)


def _bundling(attempt: Attempt, plan: WorkerPlan) -> str:
    options = [*_OPTIONS, f"--outdir={_up(attempt)}{FOLDER}"]
    hosting = attempt.plan.hosting
    if hosting and any(flag.startswith(_NODE) for flag in hosting.compatibility_flags):
        options += [f"--alias:{name}=node:{name}" for name in _BUILTINS]
        options += [f"--banner:js={_REQUIRE}"]
    return shlex.join(["esbuild", f"./{plan.entry}", *options])


def _copying(attempt: Attempt, plan: WorkerPlan) -> str:
    """Return a command that copies the modules in the entry's folder and below, but not its dependencies."""
    folder, target = posixpath.dirname(plan.entry) or ".", f"{_up(attempt, plan)}{FOLDER}"
    named = " -o ".join(f"-name '*{extension}'" for extension in TYPES)
    prune = f"-path ./node_modules -prune -o -path ./{FOLDER} -prune"
    copy = f"find . {prune} -o -type f \\( {named} \\) -exec cp --parents {{}} {target} ';'"
    return f"cd {shlex.quote(folder)} && mkdir -p {target} && {copy}"


def _up(attempt: Attempt, plan: WorkerPlan | None = None) -> str:
    """Return the way from where a command runs to the top of the project."""
    inside = posixpath.join(attempt.plan.root, posixpath.dirname(plan.entry) if plan else "")
    return "../" * len([part for part in posixpath.normpath(inside).split("/") if part != "."])


def _modules(manifest: Manifest) -> dict[str, Module]:
    typed = ((path, TYPES.get(posixpath.splitext(path)[1]), entry) for path, entry in manifest.files.items())
    return {path: Module(entry.digest, entry.size, kind) for path, kind, entry in typed if kind}


async def _compressed_bytes(attempt: Attempt, manifest: Manifest) -> int:
    objects = attempt.ports.objects
    modules = [await load(objects, entry.digest, path) for path, entry in manifest.files.items()]
    return await asyncio.to_thread(lambda: sum(len(zlib.compress(module)) for module in modules))
