"""Reads package.json as far as the plan needs it."""

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from shared.contracts.errors import ZepidError

_EXACT = re.compile(r"(npm|pnpm|yarn|bun)@(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)(?:\+.*)?")


class PackageJson(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a package.json that decide how it is built.

    Attributes:
        package_manager: as written, e.g. `pnpm@10.1.0+sha512.abc`; "" when absent.
        workspaces: globs of member folders, or an object that holds them under `packages`.
    """

    scripts: dict[str, str] = {}
    dependencies: dict[str, Any] = {}
    dev_dependencies: dict[str, Any] = {}
    package_manager: str = ""
    workspaces: list[str] | dict[str, Any] = []

    @property
    def manager(self) -> tuple[str, str]:
        """The package manager asked for and its exact version; each "" when not said."""
        if match := _EXACT.fullmatch(self.package_manager):
            return match[1], match[2]
        name = self.package_manager.partition("@")[0]
        return (name if name in ("npm", "pnpm", "yarn", "bun") else "", "")

    @property
    def has_dependencies(self) -> bool:
        """Whether anything has to be installed."""
        return bool(self.dependencies or self.dev_dependencies)

    def has_member(self, folder: str) -> bool:
        """Whether a folder, relative to this file's, is one of its workspaces."""
        globs = self.workspaces if isinstance(self.workspaces, list) else self.workspaces.get("packages", [])
        return any(fnmatchcase(folder, str(glob).removeprefix("./").rstrip("/")) for glob in globs)


def read_package_json(path: str, data: bytes) -> PackageJson:
    """Parse a package.json.

    Raises:
        ZepidError: BUILD_PLAN_INVALID with the file and, for broken JSON, the line.
    """
    try:
        return msgspec.convert(json.loads(data), PackageJson)
    except json.JSONDecodeError as error:
        message = f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        raise ZepidError("BUILD_PLAN_INVALID", message, file=path, line=error.lineno) from error
    except UnicodeDecodeError as error:
        raise ZepidError("BUILD_PLAN_INVALID", f"{path} is not UTF-8 text", file=path) from error
    except msgspec.ValidationError as error:
        raise ZepidError("BUILD_PLAN_INVALID", f"{path} cannot be used: {error}", file=path) from error
