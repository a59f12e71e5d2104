"""The platform's own formats: a template of files, and a history of messages of which some change files.

A template is a list or an object:

    tree  := [node, …] | {name: text | node, …} | {type: folder, children: tree}
    node  := {content: text} | {children: tree}     with `path` from the top of the tree, or `name` below its folder;
                                                    in an object the key is the name

`type` may be said (`file`; `folder`, `directory` or `dir`) and must agree; `contents` is the same as `content`. A name
may hold `/`, a leading `./` is dropped. Other fields, such as `isOpen`, are passed over.

A history is a list of messages, or its JSON as text. Messages of `type: "diff"` have a list `diff` of
`{type: create | edit | delete, path, modified}`; the rest say nothing about files.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from shared.blobs import safe_path
from shared.contracts.errors import ZepidError

_FOLDER = ("folder", "directory", "dir")
_CONTENT = ("content", "contents")
_LISTED_WARNINGS = 20

Warn = Callable[[str], None]


class TemplateFault(Exception):
    """The template has not the shape that is documented; the message names the node."""


def template_files(tree: Any) -> dict[str, str]:
    """Return the files of a template: path → text.

    Raises:
        TemplateFault: it is none.
    """
    files: dict[str, str] = {}
    folders: list[tuple[str, Any]] = [("", _children_of_root(tree))]
    while folders:
        folder, children = folders.pop()
        for path, node in _nodes(folder, children):
            if isinstance(node, str):
                if path in files:
                    raise TemplateFault(f"{path}: is in the template twice")
                files[path] = node
            else:
                folders.append((path, node))
    return files


def read_history(history: Any, warn: Warn) -> list[Any]:
    """Return the messages of a history; what is none counts as empty, and that is said."""
    if isinstance(history, str):
        try:
            history = msgspec.json.decode(history)
        except (msgspec.DecodeError, UnicodeEncodeError):
            warn("the message history is not valid JSON: it is taken to be empty")
            return []
    if not isinstance(history, list):
        warn("the message history is not a list of messages: it is taken to be empty")
        return []
    return history


def with_history(files: Mapping[str, str], messages: list[Any], warn: Warn) -> dict[str, str]:
    """Return the files after all messages, in their order; what is malformed changes nothing, and that is said."""
    changed = dict(files)
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            warn(f"message {number} of the history is malformed: it has no type")
        elif message["type"] == "diff":
            for where, entry in _entries(message.get("diff"), f"message {number}", warn):
                _apply(changed, entry, where, warn)
    return changed


class Warnings:
    """Collects warnings for a log, as many as one reads.

    Attributes:
        shown: the first ones, and how many more there are.
    """

    def __init__(self) -> None:
        self._all: list[str] = []

    def __call__(self, warning: str) -> None:
        """Add one."""
        self._all.append(warning)

    @property
    def shown(self) -> tuple[str, ...]:
        """The warnings to be logged."""
        more = len(self._all) - _LISTED_WARNINGS
        return tuple(self._all[:_LISTED_WARNINGS]) + ((f"and {more} more such warnings",) if more > 0 else ())


def _children_of_root(tree: Any) -> Any:
    """Return what the top of a template holds; it may be a folder node that stands for the top itself."""
    if isinstance(tree, dict) and tree.get("type") in _FOLDER and "children" in tree:
        return tree["children"]
    return tree


def _nodes(folder: str, children: Any) -> Iterator[tuple[str, Any]]:
    """Yield the path of each child with its text, or with its own children."""
    if isinstance(children, dict):
        for name, node in children.items():
            path = _path(folder, name)
            yield path, node if isinstance(node, str) else _value(node, path)
    elif isinstance(children, list):
        for node in children:
            if not isinstance(node, dict):
                raise TemplateFault(f"{folder or 'the template'}: has a node that is no object")
            path = _path("", node["path"]) if "path" in node else _path(folder, node.get("name"))
            yield path, _value(node, path)
    else:
        raise TemplateFault(f"{folder or 'the template'}: must be a list or an object of files and folders")


def _value(node: Any, path: str) -> Any:
    if not isinstance(node, dict):
        raise TemplateFault(f"{path}: must be a text or an object with `content` or `children`")
    texts = [node[name] for name in _CONTENT if name in node]
    kind = node.get("type", "file" if texts else "folder")
    if kind == "file" and len(texts) == 1 and isinstance(texts[0], str) and not node.get("children"):
        return texts[0]
    if kind in _FOLDER and not any(texts) and isinstance(node.get("children"), list | dict):
        return node["children"]
    raise TemplateFault(f"{path}: must be a file with a text as `content`, or a folder with `children`")


def _path(folder: str, name: Any) -> str:
    if not isinstance(name, str):
        raise TemplateFault(f"{folder or 'the template'}: has a node without `path` or `name`")
    path = f"{folder}/{name}" if folder else name.removeprefix("./")
    try:
        return safe_path(path)
    except ZepidError as error:
        raise TemplateFault(error.message) from None


def _entries(diff: Any, where: str, warn: Warn) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(diff, list):
        warn(f"{where} of the history is malformed: its diff is not a list")
        return
    for number, entry in enumerate(diff, start=1):
        if isinstance(entry, dict):
            yield f"{where}, change {number}", entry
        else:
            warn(f"{where}, change {number} of the history is malformed: it is no object")


def _apply(files: dict[str, str], entry: dict[str, Any], where: str, warn: Warn) -> None:
    try:
        path = _path("", entry.get("path"))
    except TemplateFault as fault:
        warn(f"{where} of the history is left out: {fault}")
        return
    match entry.get("type"), entry.get("modified"):
        case "create" | "edit", str(text):
            files[path] = text
        case "create" | "edit" as kind, _:
            warn(f"{where} of the history is left out: {kind} of {path} has no text in `modified`")
        case "delete", _:
            files.pop(path, None)
        case kind, _:
            warn(f"{where} of the history is left out: its type {str(kind)[:50]!r} is not known")
