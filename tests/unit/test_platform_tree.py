"""The platform's formats: which templates there are, and what a history makes of them."""

import pytest

from services.gateway.platform_tree import TemplateFault, Warnings, read_history, template_files, with_history

FILES = {"index.html": "<h1>", "src/main.ts": "export {};", "src/ui/dialog.tsx": ""}


@pytest.mark.parametrize(
    "tree",
    [
        [{"path": path, "content": text} for path, text in FILES.items()],
        [{"path": f"./{path}", "contents": text, "type": "file"} for path, text in FILES.items()],
        FILES,
        {
            "index.html": {"type": "file", "content": "<h1>", "isOpen": True},
            "src": {
                "type": "directory",
                "children": {
                    "main.ts": {"content": "export {};"},
                    "ui": {"children": [{"name": "dialog.tsx", "content": ""}]},
                    "empty": {"type": "folder", "children": {}},
                },
            },
        },
        {
            "type": "folder",
            "name": "my-app",
            "children": [
                {"name": "index.html", "type": "file", "content": "<h1>"},
                {"name": "src", "path": "src", "type": "dir", "children": [
                    {"name": "main.ts", "path": "src/main.ts", "content": "export {};"},
                    {"name": "ui", "children": {"dialog.tsx": ""}},
                ]},
            ],
        },
        {"src": {"children": {"ui/dialog.tsx": "", "main.ts": "export {};"}}, "index.html": "<h1>"},
    ],
    ids=["list", "list with types", "texts by path", "folders by name", "a root node", "mixed"],
)  # fmt: skip
def test_every_shape_of_a_template_is_the_same_files(tree):
    assert template_files(tree) == FILES


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ("text", "the template"),
        ([{"path": "a"}], "a: must be"),
        ([{"content": "x"}], "without `path` or `name`"),
        ([{"path": "../a", "content": "x"}], "'../a'"),
        ([{"path": "/a", "content": "x"}], "absolute"),
        ([{"path": "a", "content": 5}], "a: must be"),
        ([{"path": "a", "content": "x"}, {"path": "./a", "content": "y"}], "a: is in the template twice"),
        ({"src": {"children": {"..": "x"}}}, "'src/..'"),
        ({"src": {"type": "file", "children": {"a": "x"}}}, "src: must be"),
        ({"a": {"type": "folder", "content": "x"}}, "a: must be"),
        ({"a": {"type": "symlink", "content": "x"}}, "a: must be"),
        ({"a": None}, "a: must be"),
    ],
)
def test_what_is_no_template_is_refused_by_the_name_of_its_node(tree, named):
    with pytest.raises(TemplateFault, match=named):
        template_files(tree)


def test_a_template_may_be_as_deep_as_a_path():
    tree: dict[str, object] = {"file": "x"}
    for _ in range(400):
        tree = {"d": {"children": tree}}
    assert list(template_files(tree)) == ["d/" * 400 + "file"]


def history(*diff: object) -> list[object]:
    return [{"type": "diff", "diff": list(diff)}]


def test_create_edit_and_delete_change_the_files_in_order():
    warn = Warnings()
    messages = [
        {"type": "thinking", "content": "…"},
        *history({"type": "create", "path": "b", "modified": "1"}, {"type": "edit", "path": "a", "modified": "2"}),
        *history({"type": "delete", "path": "b"}, {"type": "edit", "path": "new", "original": "?", "modified": ""}),
        *history({"type": "delete", "path": "never was"}, {"type": "create", "path": "a", "modified": "3\r\n"}),
    ]
    assert with_history({"a": "0", "kept": "k"}, messages, warn) == {"a": "3\r\n", "kept": "k", "new": ""}
    assert warn.shown == ()


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (["no object"], "message 1 of the history is malformed"),
        ([{"diff": []}], "it has no type"),
        ([{"type": "diff"}], "its diff is not a list"),
        (history("no object"), "change 1 of the history is malformed"),
        (history({"type": "rename", "path": "a", "modified": "x"}), "'rename' is not known"),
        (history({"type": "edit", "path": "a"}), "edit of a has no text"),
        (history({"type": "create", "path": "../a", "modified": "x"}), "'../a'"),
        (history({"type": "create", "modified": "x"}), "without `path`"),
    ],
)
def test_what_is_malformed_changes_nothing_and_that_is_said(messages, said):
    warn = Warnings()
    changed = with_history({"a": "0"}, [*messages, *history({"type": "create", "path": "b", "modified": "1"})], warn)
    assert changed == {"a": "0", "b": "1"}
    assert len(warn.shown) == 1
    assert said in warn.shown[0]


@pytest.mark.parametrize("given", ["{not json", '"text"', "{}", 5, '["\\ud800"]', None])
def test_a_malformed_history_is_an_empty_one_and_that_is_said(given):
    warn = Warnings()
    assert read_history(given, warn) == []
    assert len(warn.shown) == 1


def test_so_many_warnings_are_shown_as_one_reads():
    warn = Warnings()
    for number in range(50):
        warn(str(number))
    assert len(warn.shown) == 21
    assert warn.shown[-1] == "and 30 more such warnings"
