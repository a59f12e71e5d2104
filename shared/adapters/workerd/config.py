"""A Worker as a configuration of workerd: pure text; secrets travel in the environment, not in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from shared.hosting import Hosting, Module, WorkerScript

BINDING_HEADER = "x-zepid-binding"
"""By it workerd tells the edge which Worker asks, and for what; a Worker's own header of that name is replaced."""
ASSETS, OUTBOUND = "assets", "outbound"
EDGE_SOCKET = "/run/zepid/edge.sock"
"""Where a Worker's process reaches the edge."""
PROTOCOL_HEADER = "x-forwarded-proto"
OLDEST_DATE = "2021-11-02"
"""What Cloudflare takes for a Worker that names no compatibility date."""

_KINDS = {
    "application/javascript+module": "esModule",
    "application/javascript": "commonJsModule",
    "application/wasm": "wasm",
    "text/plain": "text",
    "application/json": "json",
    "application/octet-stream": "data",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a process is started with.

    Attributes:
        text: the configuration, in which each module is embedded from the file that `files` names.
        files: file name → module, of the modules that workerd takes.
        environment: the secrets.
    """

    text: str
    files: dict[str, Module]
    environment: dict[str, str]


def configure(hosting: Hosting, variables: Mapping[str, str], token: str, newest_date: str) -> Configuration:
    """Describe a Worker that listens on the socket `http`.

    Args:
        hosting: how the release is served; it has a Worker.
        variables: the project's environment variables, which are secret and win over those of the script.
        token: what the edge knows the process by.
        newest_date: the newest compatibility date that the runtime knows; a later one counts as that.
    """
    worker = hosting.worker
    assert worker is not None
    names = [worker.main, *sorted(worker.modules.keys() - {worker.main})]
    taken = [name for name in names if worker.modules[name].type in _KINDS]
    files = {f"module-{number}": name for number, name in enumerate(taken)}
    modules = [_module(name, worker.modules[name].type, file) for file, name in files.items()]
    environment = {f"SECRET_{number}": text for number, text in enumerate(variables.values())}
    bindings = [*_plain(worker, variables), *_secret(variables), *_assets(hosting)]
    flags = ", ".join(map(quoted, hosting.compatibility_flags))
    text = f"""using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    {_service(ASSETS, token)},
    {_service(OUTBOUND, token)},
  ],
  sockets = [(
    name = "http", address = "unix:/run/unused", service = "worker",
    http = (forwardedProtoHeader = {quoted(PROTOCOL_HEADER)}),
  )],
);
const worker :Workerd.Worker = (
  modules = [{", ".join(modules)}],
  compatibilityDate = {quoted(min(hosting.compatibility_date or OLDEST_DATE, newest_date))},
  compatibilityFlags = [{flags}],
  bindings = [{", ".join(bindings)}],
  globalOutbound = {quoted(OUTBOUND)},
);
"""
    return Configuration(text, {file: worker.modules[name] for file, name in files.items()}, environment)


def quoted(text: str) -> str:
    """Return a text as Cap'n Proto writes it."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\x{ord(each):02x}" if ord(each) < 32 or ord(each) == 127 else each for each in plain) + '"'


def _module(name: str, media_type: str, file: str) -> str:
    return f"(name = {quoted(name)}, {_KINDS[media_type]} = embed {quoted(file)})"


def _service(name: str, token: str) -> str:
    header = f"(name = {quoted(BINDING_HEADER)}, value = {quoted(f'{name} {token}')})"
    http = f"(forwardedProtoHeader = {quoted(PROTOCOL_HEADER)}, injectRequestHeaders = [{header}])"
    return f"(name = {quoted(name)}, external = (address = {quoted(f'unix:{EDGE_SOCKET}')}, http = {http}))"


def _plain(worker: WorkerScript, variables: Mapping[str, str]) -> list[str]:
    values = {name: value for name, value in worker.variables.items() if name not in variables}
    return [
        f"(name = {quoted(name)}, text = {quoted(value)})"
        if isinstance(value, str)
        else f"(name = {quoted(name)}, json = {quoted(msgspec.json.encode(value).decode())})"
        for name, value in values.items()
    ]


def _secret(variables: Mapping[str, str]) -> list[str]:
    return [
        f"(name = {quoted(name)}, fromEnvironment = {quoted(f'SECRET_{number}')})"
        for number, name in enumerate(variables)
    ]


def _assets(hosting: Hosting) -> list[str]:
    if hosting.assets is None or not hosting.assets.binding:
        return []
    return [f"(name = {quoted(hosting.assets.binding)}, service = {quoted(ASSETS)})"]
