"""From a source tree and the project's settings to a build plan: pure, so every rule is tested without a world."""

import json
from collections.abc import Mapping

import msgspec

from services.steps.validate.hosting import (
    check_entry,
    is_worker_alone,
    read_config,
    with_hosting,
    with_output,
)
from services.steps.validate.lock_files import READ_BESIDE, choose_manager, folders_upward
from services.steps.validate.package_json import PackageJson, read_package_json
from services.steps.validate.tree import Tree
from shared.blobs import safe_path
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan, WorkerPlan
from shared.wrangler_config import config_path, worker_plan

STATIC_FOLDERS = (".", "public", "dist", "build", "out", "_site", "www", "site", "docs")
"""Where the page of a site without package.json is looked for, in this order."""


def files_to_read(tree: Tree, settings: Mapping[str, str]) -> list[str]:
    """Return the paths whose contents `make_plan` wants in `tree.texts`."""
    root = root_folder(tree, settings)
    paths = (tree.join(folder, name) for folder in folders_upward(root) for name in READ_BESIDE)
    return [path for path in (*paths, config_path(tree.files, root)) if path and path in tree.files]


def make_plan(tree: Tree, settings: Mapping[str, str]) -> BuildPlan:
    """Decide how the tree is built.

    Args:
        tree: the source, with the texts that `files_to_read` names.
        settings: rootDirectory, installCommand, buildCommand, outputDirectory; absent or "" = detect.

    Raises:
        ZepidError: BUILD_PLAN_INVALID, BUILD_SCRIPT_MISSING, BUILD_NO_OUTPUT.
    """
    root = root_folder(tree, settings)
    config = read_config(tree, root)
    worker = worker_plan(config, "", config_path(tree.files, root) or "") if config else None
    plan = _plan(tree, root, with_output(settings, config), worker, has_site=not is_worker_alone(config))
    plan = with_hosting(msgspec.structs.replace(plan, worker=worker), config)
    check_entry(tree, plan)
    return plan


def _plan(
    tree: Tree, root: str, settings: Mapping[str, str], worker: WorkerPlan | None, *, has_site: bool
) -> BuildPlan:
    path = tree.join(root, "package.json")
    if path not in tree.files:
        if not has_site and not settings.get("buildCommand"):
            return BuildPlan(manager="none", root=root)
        return _plan_without_package(tree, root, settings)
    package = read_package_json(path, tree.texts[path])
    build = settings.get("buildCommand", "").strip()
    has_build = bool(build) or "build" in package.scripts
    if not has_build and not worker:
        return _plan_without_script(tree, root, path, package)
    choice = choose_manager(tree, root, package)
    output = _folder_setting(settings, "outputDirectory")
    if not has_build and has_site and not output:
        output = _static_folder(tree, root)
    return BuildPlan(
        manager=choice.manager,
        manager_version=choice.version,
        root=root,
        lock=choice.lock,
        install=settings.get("installCommand", "").strip(),
        build=build or (f"{choice.manager} run build" if has_build else ""),
        output=output,
        warnings=choice.warnings,
    )


def root_folder(tree: Tree, settings: Mapping[str, str]) -> str:
    """Return the folder to work in.

    Raises:
        ZepidError: BUILD_PLAN_INVALID when the setting is no folder of the source.
    """
    root = _folder_setting(settings, "rootDirectory") or "."
    if not tree.has_folder(root):
        found = ", ".join(tree.top_folders()) or "none"
        raise ZepidError(
            "BUILD_PLAN_INVALID",
            f"the root directory {root!r} is not in the source; folders at its top: {found}",
        )
    return root


def describe(plan: BuildPlan) -> str:
    """Return one line for people: what was detected."""
    where = "" if plan.root == "." else f" in {plan.root}"
    worker = f", Worker {plan.worker.entry}" if plan.worker else ""
    if plan.manager == "none" and not plan.build and plan.has_site:
        return f"static site{where}: the files of {plan.output} are released as they are{worker}"
    manager = " ".join(filter(None, (plan.manager, plan.manager_version)))
    tools = "no package.json" if plan.manager == "none" else f"{manager} ({plan.lock or 'no lock file'})"
    build = f"build `{plan.build}`" if plan.build else "no build"
    output = f"output {plan.output or 'found after the build'}" if plan.has_site else "no static files"
    return f"build plan{where}: {tools}, {build}, {output}{worker}"


def _plan_without_package(tree: Tree, root: str, settings: Mapping[str, str]) -> BuildPlan:
    build = settings.get("buildCommand", "").strip()
    output = _folder_setting(settings, "outputDirectory")
    if build:
        install = settings.get("installCommand", "").strip()
        return BuildPlan(manager="none", root=root, install=install, build=build, output=output)
    if output:
        if not tree.has_folder(tree.join(root, output)):
            raise ZepidError("BUILD_NO_OUTPUT", f"the output directory {output!r} has no file in the source")
        return BuildPlan(manager="none", root=root, output=output)
    return BuildPlan(manager="none", root=root, output=_static_folder(tree, root))


def _static_folder(tree: Tree, root: str) -> str:
    """Return the folder with the page of a site that needs no build."""
    for folder in STATIC_FOLDERS:
        if tree.join(tree.join(root, folder), "index.html") in tree.files:
            return folder
    looked = ", ".join(STATIC_FOLDERS[1:])
    raise ZepidError(
        "BUILD_NO_OUTPUT",
        f"there is neither a build nor an index.html in {_shown(root)}; an index.html was also looked for "
        f"in {looked} (folders named dist, and build at the top, are not uploaded)",
    )


def _plan_without_script(tree: Tree, root: str, path: str, package: PackageJson) -> BuildPlan:
    if not package.has_dependencies and tree.join(root, "index.html") in tree.files:
        warning = f"{path} has no build script and no dependencies: the folder is released as it is"
        return BuildPlan(manager="none", root=root, output=".", warnings=(warning,))
    scripts = ", ".join(sorted(package.scripts)) or "none"
    raise ZepidError(
        "BUILD_SCRIPT_MISSING",
        f"{path} has no `build` script; its scripts: {scripts}",
        file=path,
        excerpt=f'"scripts": {json.dumps(package.scripts, indent=2, ensure_ascii=False)}',
    )


def _folder_setting(settings: Mapping[str, str], name: str) -> str:
    """Return a folder of the settings, clean and relative; "" when it is not set."""
    folder = settings.get(name, "").strip().rstrip("/")
    while folder.startswith("./"):
        folder = folder[2:]
    if folder in ("", "."):
        return folder
    try:
        return safe_path(folder)
    except ZepidError as error:
        raise ZepidError("BUILD_PLAN_INVALID", f"the setting {name}: {error.message}") from error


def _shown(root: str) -> str:
    return "the source" if root == "." else root
