"""The build plan: which manager, which commands, which output, and what is said when there is none."""

import json

import pytest

from services.steps.validate.handler import check_tree
from services.steps.validate.plan import describe, files_to_read, make_plan
from services.steps.validate.tree import Tree
from shared.blobs import safe_path
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan
from shared.ports import Entry, Manifest

APP = {"scripts": {"build": "vite build"}, "dependencies": {"vite": "8"}}


def package(**fields: object) -> str:
    return json.dumps(APP | fields)


def plan_of(files: dict[str, str], **settings: str) -> BuildPlan:
    texts = {path: text.encode() for path, text in files.items()}
    read = files_to_read(Tree(texts), settings)
    return make_plan(Tree(texts, {path: texts[path] for path in read}), settings)


def refusal(files: dict[str, str], **settings: str) -> ZepidError:
    with pytest.raises(ZepidError) as caught:
        plan_of(files, **settings)
    return caught.value


@pytest.mark.parametrize(
    ("lock", "manager"),
    [
        ("package-lock.json", "npm"),
        ("npm-shrinkwrap.json", "npm"),
        ("pnpm-lock.yaml", "pnpm"),
        ("yarn.lock", "yarn"),
        ("bun.lock", "bun"),
        ("bun.lockb", "bun"),
    ],
)
def test_the_lock_file_names_the_package_manager(lock: str, manager: str) -> None:
    plan = plan_of({"package.json": package(), lock: ""})
    assert plan == BuildPlan(manager=manager, lock=lock, build=f"{manager} run build")


def test_without_a_lock_file_npm_installs_with_a_warning() -> None:
    plan = plan_of({"package.json": package()})
    assert (plan.manager, plan.lock) == ("npm", "")
    assert "no lock file" in plan.warnings[0]


def test_without_a_lock_file_the_package_manager_field_decides() -> None:
    plan = plan_of({"package.json": package(packageManager="bun@1.4.5")})
    assert (plan.manager, plan.manager_version) == ("bun", "1.4.5")


def test_the_package_manager_field_gives_the_version() -> None:
    files = {"package.json": package(packageManager="pnpm@10.1.0+sha512.abc"), "pnpm-lock.yaml": ""}
    assert plan_of(files).manager_version == "10.1.0"


def test_a_version_that_is_not_exact_is_left_to_the_default() -> None:
    files = {"package.json": package(packageManager="pnpm@10"), "pnpm-lock.yaml": ""}
    assert (plan_of(files).manager, plan_of(files).manager_version) == ("pnpm", "")


def test_of_several_lock_files_the_package_manager_field_chooses_without_a_warning() -> None:
    files = {"package.json": package(packageManager="yarn@1.22.22"), "yarn.lock": "", "pnpm-lock.yaml": ""}
    assert (plan_of(files).manager, plan_of(files).warnings) == ("yarn", ())


def test_of_several_lock_files_pnpm_comes_first_with_a_warning() -> None:
    plan = plan_of({"package.json": package(), "package-lock.json": "", "pnpm-lock.yaml": ""})
    assert plan.manager == "pnpm"
    assert "several lock files" in plan.warnings[0]


def test_a_lock_file_wins_over_another_manager_asked_for() -> None:
    plan = plan_of({"package.json": package(packageManager="pnpm@10.1.0"), "package-lock.json": ""})
    assert (plan.manager, plan.manager_version) == ("npm", "")
    assert "asks for pnpm" in plan.warnings[0]


def test_an_old_pnpm_lock_file_gets_the_pnpm_that_reads_it() -> None:
    assert (
        plan_of({"package.json": package(), "pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}).manager_version == "8.15.9"
    )
    assert plan_of({"package.json": package(), "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}).manager_version == ""


def test_a_lock_file_of_a_newer_yarn_gets_a_newer_yarn() -> None:
    files = {"package.json": package(), "yarn.lock": "# yarn\n\n__metadata:\n  version: 8\n"}
    assert plan_of(files).manager_version.startswith("4.")
    files[".yarnrc.yml"] = "nodeLinker: node-modules\nyarnPath: .yarn/releases/yarn-3.8.7.cjs\n"
    assert plan_of(files).manager_version == "3.8.7"


def test_settings_override_what_would_be_detected() -> None:
    files = {"package.json": package(), "package-lock.json": ""}
    plan = plan_of(files, installCommand="npm i --force", buildCommand="npx vite build", outputDirectory="./web/out/")
    assert (plan.install, plan.build, plan.output) == ("npm i --force", "npx vite build", "web/out")


def test_the_root_directory_is_where_package_json_is_looked_for() -> None:
    files = {"site/package.json": package(), "site/pnpm-lock.yaml": "", "package.json": "{}"}
    assert plan_of(files, rootDirectory="site") == BuildPlan(
        manager="pnpm", root="site", lock="site/pnpm-lock.yaml", build="pnpm run build"
    )


@pytest.mark.parametrize("workspaces", [["packages/*"], {"packages": ["./packages/web/"]}])
def test_a_workspace_is_installed_by_the_lock_file_above_it(workspaces: object) -> None:
    files = {
        "package.json": json.dumps({"workspaces": workspaces, "packageManager": "npm@11.1.0"}),
        "package-lock.json": "",
        "packages/web/package.json": package(),
    }
    plan = plan_of(files, rootDirectory="packages/web")
    assert (plan.root, plan.lock, plan.manager_version) == ("packages/web", "package-lock.json", "11.1.0")


def test_a_pnpm_workspace_is_found_by_its_importer() -> None:
    lock = "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  apps/web:\n    dependencies: {}\n"
    files = {"pnpm-lock.yaml": lock, "apps/web/package.json": package(), "apps/api/package.json": package()}
    assert plan_of(files, rootDirectory="apps/web").lock == "pnpm-lock.yaml"
    assert plan_of(files, rootDirectory="apps/api").lock == ""


def test_a_lock_file_above_that_does_not_cover_the_root_is_not_used() -> None:
    files = {"package.json": "{}", "package-lock.json": "", "example/package.json": package()}
    assert plan_of(files, rootDirectory="example").lock == ""


@pytest.mark.parametrize(("page", "output"), [("index.html", "."), ("public/index.html", "public")])
def test_a_folder_of_html_is_a_static_site(page: str, output: str) -> None:
    plan = plan_of({page: "<p>", "style.css": ""})
    assert plan == BuildPlan(manager="none", output=output)
    assert "static site" in describe(plan)


def test_without_package_json_the_output_directory_is_released() -> None:
    assert plan_of({"web/a.html": ""}, outputDirectory="web") == BuildPlan(manager="none", output="web")
    assert refusal({"web/a.html": ""}, outputDirectory="site").code.name == "BUILD_NO_OUTPUT"


def test_without_package_json_a_build_command_is_run_all_the_same() -> None:
    plan = plan_of({"make.sh": ""}, buildCommand="sh make.sh", outputDirectory="out")
    assert plan == BuildPlan(manager="none", build="sh make.sh", output="out")


def test_nothing_to_build_and_no_page_is_refused_with_where_was_looked() -> None:
    error = refusal({"README.md": ""})
    assert error.code.name == "BUILD_NO_OUTPUT"
    assert "public, dist" in error.message


def test_a_missing_build_script_is_refused_with_the_scripts_there_are() -> None:
    files = {"package.json": json.dumps({"scripts": {"start": "x", "dev": "y"}, "dependencies": {"a": "1"}})}
    error = refusal(files | {"index.html": ""})
    assert (error.code.name, error.file) == ("BUILD_SCRIPT_MISSING", "package.json")
    assert "dev, start" in error.message


def test_a_page_beside_a_package_json_that_does_nothing_is_a_static_site_with_a_warning() -> None:
    plan = plan_of({"package.json": '{"name": "x"}', "index.html": ""})
    assert (plan.manager, plan.output) == ("none", ".")
    assert plan.warnings


def test_broken_json_is_refused_with_file_and_line() -> None:
    error = refusal({"web/package.json": '{\n  "name": "x",\n  oops\n}'}, rootDirectory="web")
    assert (error.code.name, error.file, error.line) == ("BUILD_PLAN_INVALID", "web/package.json", 3)


@pytest.mark.parametrize("text", ["[]", '{"scripts": "x"}', '{"scripts": {"build": 1}}', "\xff"])
def test_a_package_json_of_the_wrong_shape_is_refused(text: str) -> None:
    with pytest.raises(ZepidError) as caught:
        make_plan(Tree(["package.json"], {"package.json": text.encode("latin-1")}), {})
    assert (caught.value.code.name, caught.value.file) == ("BUILD_PLAN_INVALID", "package.json")


@pytest.mark.parametrize("folder", ["../up", "/etc", "a//b", "a/./b", "gone"])
def test_a_root_directory_outside_the_source_is_refused(folder: str) -> None:
    assert refusal({"package.json": package()}, rootDirectory=folder).code.name == "BUILD_PLAN_INVALID"


@pytest.mark.parametrize("path", ["", "/a", "a/../b", "..", ".", "a//b", "a/", "a\0b", "é" * 513, "\ud800"])
def test_an_unclean_path_is_refused(path: str) -> None:
    with pytest.raises(ZepidError) as caught:
        safe_path(path)
    assert caught.value.code.name == "SOURCE_INVALID"


@pytest.mark.parametrize("path", ["a", ".env.example", "a\\b", "ü/日本.txt", "..a/b..", "é" * 512])
def test_a_clean_path_is_kept(path: str) -> None:
    assert safe_path(path) == path


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "SOURCE_MISSING"),
        ({"a": Entry("0", 1), "a/b": Entry("0", 1)}, "SOURCE_INVALID"),
        ({"a": Entry("0", 26 * 2**20)}, "SOURCE_INVALID"),
        ({str(number): Entry("0", 1) for number in range(20_001)}, "SOURCE_INVALID"),
    ],
    ids=["empty", "file and folder", "large file", "many files"],
)
def test_a_tree_that_cannot_be_written_is_refused(files: dict[str, Entry], code: str) -> None:
    with pytest.raises(ZepidError) as caught:
        check_tree(Manifest(files))
    assert caught.value.code.name == code
