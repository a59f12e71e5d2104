"""Who answers beside a Worker, and what its process is started with."""

import pytest

from services.edge.releases import Release
from services.edge.request import Request
from services.edge.workers.routing import is_for_worker
from services.steps.validate.plan import files_to_read, make_plan
from services.steps.validate.tree import Tree
from shared.adapters.workerd.config import configure
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan, WorkerPlan
from shared.hosting import AssetRules, Hosting, Module, WorkerScript
from shared.ports import Entry
from tests.edge_world import nothing_comes

WORKER = WorkerScript("index.js", {"index.js": Module("d", 1)})
NAVIGATES = {b"sec-fetch-mode": b"navigate"}
OLD, NEW = "2025-03-31", "2025-04-01"


@pytest.mark.parametrize(
    ("path", "method", "rules", "date", "navigates", "expected"),
    [
        ("/", "GET", {}, NEW, False, False),
        ("/file.txt", "GET", {}, NEW, False, False),
        ("/file.txt", "POST", {}, NEW, False, False),
        ("/index.html", "GET", {}, NEW, False, False),
        ("/none", "GET", {}, NEW, False, True),
        ("/none", "GET", {}, NEW, True, True),
        ("/none", "GET", {"not_found_handling": "single-page-application"}, NEW, True, False),
        ("/none", "GET", {"not_found_handling": "single-page-application"}, OLD, True, True),
        ("/none", "GET", {"not_found_handling": "single-page-application"}, NEW, False, True),
        ("/none", "POST", {"not_found_handling": "single-page-application"}, NEW, True, True),
        ("/file.txt", "GET", {"run_worker_first": True}, NEW, False, True),
        ("/api/x", "GET", {"run_worker_first": ("/api/*", "!/api/docs/*")}, NEW, False, True),
        ("/api/docs/x", "GET", {"run_worker_first": ("/api/*", "!/api/docs/*")}, NEW, False, False),
        ("/file.txt", "GET", {"run_worker_first": ("/api/*",)}, NEW, False, False),
        ("/file.txt", "GET", {"run_worker_first": ("*.txt",)}, NEW, False, True),
    ],
)
def test_who_answers(path: str, method: str, rules: dict, date: str, navigates: bool, expected: bool) -> None:
    hosting = Hosting(date, assets=AssetRules(**rules), worker=WORKER)
    files = {name: Entry(name, 1) for name in ("index.html", "file.txt")}
    not_found = rules.get("not_found_handling", "none")
    release = Release("rel_1", "shop", "acme", files, not_found_handling=not_found, hosting=hosting)
    request = Request(method, "shop", path, b"", NAVIGATES if navigates else {}, {}, nothing_comes)
    assert is_for_worker(release, request) is expected


def test_secrets_are_in_the_environment_alone_and_texts_can_t_break_out() -> None:
    worker = WorkerScript("index.js", WORKER.modules, {"A": '")]; x = "', "B": "plain", "C": {"n": 1}})
    made = configure(
        Hosting(assets=AssetRules(binding="ASSETS"), worker=worker), {"B": "secret"}, "token", "2026-01-01"
    )
    assert "secret" not in made.text
    assert list(made.environment.values()) == ["secret"]
    assert r'(name = "A", text = "\")]; x = \"")' in made.text
    assert '(name = "B", fromEnvironment = "SECRET_0")' in made.text
    assert 'compatibilityDate = "2021-11-02"' in made.text


def test_a_compatibility_date_that_the_runtime_does_not_know_yet_counts_as_its_newest() -> None:
    made = configure(Hosting("2999-01-01", worker=WORKER), {}, "token", "2026-01-01")
    assert 'compatibilityDate = "2026-01-01"' in made.text


def plan_of(files: dict[str, str], **settings: str) -> BuildPlan:
    texts = {path: text.encode() for path, text in files.items()}
    read = files_to_read(Tree(texts), settings)
    return make_plan(Tree(texts, {path: texts[path] for path in read}), settings)


ALONE = {"wrangler.toml": 'main = "./src/a.js"', "src/a.js": ""}
FILES = {
    "wrangler.toml": 'main = "a.js"\nno_bundle = true\n[assets]\n[vars]\nA = 1',
    "a.js": "",
    "public/index.html": "",
}
DEPENDENT = '{"dependencies": {"hono": "4"}}'


@pytest.mark.parametrize(
    ("files", "manager", "build", "output", "has_site", "worker"),
    [
        (ALONE, "none", "", "", False, WorkerPlan(entry="src/a.js")),
        (ALONE | {"package.json": DEPENDENT}, "npm", "", "", False, WorkerPlan(entry="src/a.js")),
        (FILES, "none", "", "public", True, WorkerPlan(entry="a.js", bundle=False, variables={"A": 1})),
        (
            FILES | {"package.json": DEPENDENT},
            *("npm", "", "public", True, WorkerPlan(entry="a.js", bundle=False, variables={"A": 1})),
        ),
        (
            {"wrangler.toml": 'main = "dist/made.js"', "package.json": '{"scripts": {"build": "x"}}'},
            *("npm", "npm run build", "", False, WorkerPlan(entry="dist/made.js")),
        ),
    ],
)
def test_the_plan_of_a_worker(
    files: dict[str, str], manager: str, build: str, output: str, has_site: bool, worker: WorkerPlan
) -> None:
    plan = plan_of(files)
    assert (plan.manager, plan.build, plan.output, plan.has_site) == (manager, build, output, has_site)
    assert plan.worker == worker


@pytest.mark.parametrize(
    ("main", "complaint"),
    [("../a.js", "main"), ("src/none.js", "does not have"), ("src/a.py", "Python"), ("/etc/passwd", "main")],
)
def test_a_script_that_can_t_be_one_is_refused_by_name(main: str, complaint: str) -> None:
    with pytest.raises(ZepidError, match=complaint) as refused:
        plan_of(ALONE | {"wrangler.toml": f'main = "{main}"', "src/a.py": ""})
    assert refused.value.code.name == "BUILD_PLAN_INVALID"
    assert refused.value.file == "wrangler.toml"


def test_bindings_that_are_not_provided_are_named() -> None:
    plan = plan_of(ALONE | {"wrangler.toml": 'main = "src/a.js"\n[[kv_namespaces]]\nbinding = "KV"\nid = "1"'})
    assert any("kv_namespaces" in warning for warning in plan.warnings)
