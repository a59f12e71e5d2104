"""What the project's wrangler configuration adds to the plan: where the output lies, and how it is served."""

from collections.abc import Mapping

import msgspec

from services.steps.validate.tree import Tree
from shared.contracts.messages import BuildPlan
from shared.hosting import STATIC
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


def with_hosting(plan: BuildPlan, config: WranglerConfig | None) -> BuildPlan:
    """Return the plan with what the release will say about being served."""
    if config is None:
        return plan
    warnings = plan.warnings
    if config.main:
        warnings += (f"the Worker {config.main} is not released, only the static files beside it",)
    hosting = None if config.hosting == STATIC else config.hosting
    return msgspec.structs.replace(plan, hosting=hosting, warnings=warnings)
