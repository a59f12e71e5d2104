"""What a project's wrangler configuration says about serving it; everything else in it is ignored."""

import posixpath
import tomllib
from collections.abc import Container
from typing import Any

import msgspec

from shared import jsonc
from shared.blobs import safe_path
from shared.contracts.errors import ZepidError
from shared.contracts.messages import WorkerPlan
from shared.hosting import STATIC, AssetRules, Hosting, HtmlHandling, NotFoundHandling

NAMES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")
"""In the order in which wrangler looks for them."""

_BINDINGS = (
    *("kv_namespaces", "d1_databases", "r2_buckets", "durable_objects", "queues", "services", "ai", "browser"),
    *("vectorize", "hyperdrive", "workflows", "images", "analytics_engine_datasets", "send_email", "mtls_certificates"),
    *("dispatch_namespaces", "tail_consumers", "version_metadata", "ratelimits", "secrets_store_secrets", "pipelines"),
)


class Assets(msgspec.Struct, frozen=True):
    """The `assets` of a configuration; `directory` as written, relative to the file."""

    directory: str = ""
    binding: str = ""
    html_handling: HtmlHandling | None = None
    not_found_handling: NotFoundHandling | None = None
    run_worker_first: bool | tuple[str, ...] | None = None


class WranglerConfig(msgspec.Struct, frozen=True):
    """The part of a configuration that decides how a project is served.

    Attributes:
        main: the Worker's entry as written, relative to the file.
        unknown_bindings: keys of what a Worker would find in its environment, and does not here.
    """

    main: str = ""
    no_bundle: bool = False
    compatibility_date: str = ""
    compatibility_flags: tuple[str, ...] = ()
    vars: dict[str, Any] = {}
    assets: Assets | None = None
    unknown_bindings: tuple[str, ...] = ()

    @property
    def hosting(self) -> Hosting:
        """How the release is served; a Worker's modules are not known from here."""
        if self.main and self.assets is None:
            return Hosting(self.compatibility_date, self.compatibility_flags, None)
        found = self.assets or Assets()
        rules = AssetRules(found.html_handling, found.not_found_handling, found.run_worker_first, found.binding)
        return Hosting(self.compatibility_date, self.compatibility_flags, rules)

    @property
    def stated_hosting(self) -> Hosting | None:
        """The same as a plan has it: None where it says no more than that this is a plain static site."""
        return None if self.hosting == STATIC else self.hosting


def config_path(files: Container[str], root: str) -> str | None:
    """Return the path of the configuration in the folder `root` of a tree, or None."""
    paths = (posixpath.normpath(posixpath.join(root, name)) for name in NAMES)
    return next((path for path in paths if path in files), None)


def parse_config(path: str, text: bytes) -> WranglerConfig:
    """Read a configuration.

    Raises:
        ZepidError: BUILD_PLAN_INVALID, naming the file and what is wrong in it.
    """
    try:
        decoded = text.decode()
        value = tomllib.loads(decoded) if path.endswith(".toml") else jsonc.decode(decoded)
        unknown = tuple(key for key in _BINDINGS if isinstance(value, dict) and value.get(key))
        return msgspec.structs.replace(msgspec.convert(value, WranglerConfig), unknown_bindings=unknown)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise ZepidError("BUILD_PLAN_INVALID", f"{path} cannot be read: {error}", file=path) from error


def worker_plan(config: WranglerConfig, folder: str, file: str) -> WorkerPlan | None:
    """Return how to make the Worker of a configuration, None when it has none.

    Args:
        config: the configuration.
        folder: where it lies, relative to the folder that the plan works in.
        file: its path, for errors.

    Raises:
        ZepidError: BUILD_PLAN_INVALID, it names a script that can't be one.
    """
    if not config.main:
        return None
    entry = path_from(folder, config.main, f"`main` in {file}", file)
    if entry.endswith(".py"):
        raise ZepidError("BUILD_PLAN_INVALID", f"`main` in {file}: Workers in Python do not run here", file=file)
    return WorkerPlan(entry=entry, bundle=not config.no_bundle, variables=config.vars)


def path_from(folder: str, path: str, what: str, file: str) -> str:
    """Return where a path leads that is written relative to a folder.

    Args:
        folder: the folder, relative to the one that the plan works in.
        path: as written.
        what: what the path is, for the error.
        file: where it is written.

    Raises:
        ZepidError: BUILD_PLAN_INVALID, it leads out of the project.
    """
    try:
        return safe_path(posixpath.normpath(posixpath.join(folder, path)))
    except ZepidError as error:
        raise ZepidError("BUILD_PLAN_INVALID", f"{what}: {error.message}", file=file) from error
