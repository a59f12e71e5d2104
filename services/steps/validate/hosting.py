"""What the project's wrangler configuration adds to the plan: its Worker, where the output lies, how it is served."""

from collections.abc import Mapping

import msgspec

from services.steps.validate.tree import Tree
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan
from shared.wrangler_config import WranglerConfig, config_path, parse_config


def read_config(tree: Tree, root: str) -> WranglerConfig | None:
    """Return the configuration in the root folder, or None.

    Raises:
        ZepidError: BUILD_PLAN_INVALID, naming the file and what is wrong in it.
    """
    path = config_path(tree.files, root)
    return parse_config(path, tree.texts[path]) if path else None


def with_output(settings: Mapping[str, str], config: WranglerConfig | None) -> Mapping[str, str]:
    """Return the settings with the configuration's assets folder as output, unless they name one."""
    folder = config.assets.directory if config and config.assets else ""
    return settings if settings.get("outputDirectory") or not folder else {**settings, "outputDirectory": folder}


def is_worker_alone(config: WranglerConfig | None) -> bool:
    """Whether the project has a Worker and no static files."""
    return config is not None and bool(config.main) and config.assets is None


def check_entry(tree: Tree, plan: BuildPlan) -> None:
    """Refuse a Worker whose script neither the source has nor a build can make.

    Raises:
        ZepidError: BUILD_PLAN_INVALID.
    """
    if plan.worker is None or plan.build or tree.join(plan.root, plan.worker.entry) in tree.files:
        return
    file = config_path(tree.files, plan.root)
    message = f"{file} names the Worker {plan.worker.entry}, which the source does not have"
    raise ZepidError("BUILD_PLAN_INVALID", message, file=file)


def with_hosting(plan: BuildPlan, config: WranglerConfig | None) -> BuildPlan:
    """Return the plan with what the release will say about being served."""
    if config is None:
        return plan
    warnings = plan.warnings
    if config.main and config.unknown_bindings:
        warnings += (f"the Worker will not find {', '.join(config.unknown_bindings)} in its environment here",)
    return msgspec.structs.replace(plan, hosting=config.stated_hosting, warnings=warnings)
